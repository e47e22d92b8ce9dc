"""How far hosts are from each other: which packets the internet's router gives to the service
that delays them.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.world import addresses, ruleset, services
from lab.world.command import ip, run
from lab.world.model import Model
from lab.world.state import State, write_json

_SERVICE: Final = "distance"
_BACK: Final = 50  # priorities of rules: what comes back from the device goes its usual way
_AWAY: Final = 60
_FAMILIES: Final = (4, 6)


def apply(state: State, model: Model, pairs: Mapping[tuple[str, str], float]) -> None:
    """Make it so, instead of what was; with no pair everything is near. Milliseconds."""
    _forget(state)
    services.stop(state, _SERVICE)
    found = [
        {"between": ends, "milliseconds": milliseconds}
        for hosts, milliseconds in pairs.items()
        for ends in _ends(model, *hosts)
    ]
    write_json(state.distances, found)
    if found:
        services.start(state, _SERVICE)
        for family in _FAMILIES:
            ip(state.namespace("internet"), *_rules(found, family), family=family)


def _ends(model: Model, one: str, other: str) -> Iterator[tuple[str, str]]:
    for here in ruleset.seen_as(one, model):
        for there in ruleset.seen_as(other, model):
            if ipaddress.ip_address(here).version == ipaddress.ip_address(there).version:
                yield here, there


def _rules(found: list[dict[str, Any]], family: int) -> Iterator[str]:
    yield f"rule add priority {_BACK} iif {addresses.FAR} lookup main"
    for pair in found:
        for here, there in (pair["between"], pair["between"][::-1]):
            if ipaddress.ip_address(here).version == family:
                where = f"from {here} to {there} lookup {addresses.FAR_TABLE}"
                yield f"rule add priority {_AWAY} {where}"


def _forget(state: State) -> None:
    internet = state.namespace("internet")
    for family in _FAMILIES:
        shown = run(["ip", f"-{family}", "-n", internet, "-j", "rule", "show"]).stdout
        ours = [rule for rule in json.loads(shown) if rule["priority"] in (_BACK, _AWAY)]
        lines = (f"rule del priority {rule['priority']}" for rule in ours)
        ip(internet, *lines, family=family)
