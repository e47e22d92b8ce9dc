"""`mesh-relays`: shows which relays are in the DERP map and why, and lets an operator decide.

mesh-relays [--json]                    what is in the map, and what the probes say
mesh-relays set RELAY in|out|auto       in or out whatever the probes say, or as they say
mesh-relays limit N                     how many may be out by themselves at a time
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from guard.etcd import EtcdError
from relays import config
from relays.config import Config
from relays.decision import WISHES, Wish, Wishes
from relays.store import Store, StoreError

CONFIG: Final = Path("/etc/mesh/relays.json")
QUIET_SECONDS: Final = 45.0  # after which a result, or what the watcher told, is old
_HEAD: Final = ("relay", "region", "map", "since", "override", "probes", "why")
_KINDS: Final = {"derp_mesh": "DERP", "derp_udp": "STUN", "tls": "certificate"}


class CommandError(Exception):
    """What to tell the operator."""


def run(words: Sequence[str], settings: Config, store: Store) -> str:
    """What to print. Raises CommandError, StoreError or EtcdError; SystemExit for wrong usage."""
    given = _parser(settings).parse_args(words)
    if given.verb == "set":
        return set_wish(settings, store, given.relay, given.wish)
    if given.verb == "limit":
        return set_limit(settings, store, given.number)
    return show(settings, as_json=given.json)


def _parser(settings: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mesh-relays", description="The relays of the DERP map.")
    parser.add_argument("--json", action="store_true", help="all that is known, as JSON")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    wish = verbs.add_parser("set", help="decide for one relay, or leave it to the probes")
    wish.add_argument("relay", choices=list(settings.relays))
    wish.add_argument("wish", choices=WISHES)
    limit = verbs.add_parser("limit", help="how many may be out by themselves at a time")
    limit.add_argument("number", type=int, choices=range(len(settings.relays)), metavar="N")
    return parser


def set_wish(settings: Config, store: Store, relay: str, wish: Wish) -> str:
    """Wish something for one relay."""
    wishes, out = store.wishes(), store.decision()
    known = {other: wishes.of(other) for other in settings.relays if other != relay}
    left = [other for other, its in known.items() if its != "out" and other not in out]
    if wish == "out" and not left:
        raise CommandError(f"{relay} is the last relay in the map; bring another one in first")
    kept = {other: its for other, its in known.items() if its != "auto"}
    if wish != "auto":
        kept[relay] = wish
    store.wish(Wishes(relays=kept, limit=wishes.limit))
    return f"{relay}: {wish}. {_soon(settings)}"


def set_limit(settings: Config, store: Store, number: int) -> str:
    """Wish another limit."""
    store.wish(Wishes(relays=store.wishes().relays, limit=number))
    return f"at most {number} out by themselves. {_soon(settings)}"


def _soon(settings: Config) -> str:
    seconds = settings.each + 2
    return f"The control hosts have it within {seconds:g} s, clients within a minute more."


def show(settings: Config, *, as_json: bool) -> str:
    """What the watcher told last."""
    try:
        text = settings.status.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"mesh-relay-watch has told nothing yet: {error}") from None
    if as_json:
        return text.rstrip("\n")
    told = json.loads(text)
    rows = [_HEAD, *(_row(relay) for relay in told["relays"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *_remarks(told)])


def _row(relay: dict[str, Any]) -> tuple[str, ...]:
    probes = [f"{name} {_result(relay['probes'].get(kind))}" for kind, name in _KINDS.items()]
    return (
        relay["relay"],
        relay["region"],
        "in" if relay["in_map"] else "OUT",
        relay["since"] or "-",
        relay["override"],
        ", ".join(probes),
        relay["why"] or "",
    )


def _result(probe: dict[str, Any] | None) -> str:
    if probe is None:
        return "-"
    if probe["age_seconds"] > QUIET_SECONDS:
        return f"? (for {probe['age_seconds']:.0f} s)"
    return "ok" if probe["passed"] else f"FAILS {probe['for_seconds']:.0f} s"


def _remarks(told: dict[str, Any]) -> list[str]:
    remarks = [f"at most {told['limit']} out by themselves"]
    if told["own_network_sick"]:
        remarks.append("more than half fail at once: it is taken for a fault on this side")
    if told["trouble"]:
        remarks.append(f"no decision: {told['trouble']}")
    age = time.time() - told["at_seconds"]
    if age > QUIET_SECONDS:
        remarks.append(f"OLD: mesh-relay-watch has told nothing for {age:.0f} s")
    return remarks


def main() -> int:
    """The exit status."""
    try:
        settings = config.load(CONFIG)
        print(run(sys.argv[1:], settings, settings.store()))
    except (CommandError, StoreError, EtcdError, OSError) as error:
        print(f"mesh-relays: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
