"""Whether the mesh is well, and what to do if not: a pure function of what the hosts say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from meshctl import show
from meshctl.control import Guard, Silence
from meshctl.facts import Facts
from meshctl.trouble import UnreachableError

State = Literal["healthy", "degraded", "down"]
EXITS: Final[dict[State, int]] = {"healthy": 0, "degraded": 1, "down": 2}
DAYS: Final = 86400.0
CERTIFICATE_SECONDS: Final = 14 * DAYS  # renewed when a third of its life is left: it fails by then
QUIET_SECONDS: Final = 45.0  # after which what mesh-relay-watch told is old

_CONTROL: Final = "docs/runbooks/control-host-lost.md"
_DATABASE: Final = "docs/runbooks/database-host-lost.md"
_RELAY: Final = "docs/runbooks/relay-failed.md"
_CERTIFICATE: Final = "docs/runbooks/certificate-ends.md"


@dataclass(frozen=True)
class Reason:
    """What is wrong, how bad it is, and what to do next."""

    state: State
    what: str
    do: str


@dataclass(frozen=True)
class Verdict:
    """`reasons` begin with the worst."""

    reasons: tuple[Reason, ...]

    @property
    def state(self) -> State:
        """The worst of it."""
        return self.reasons[0].state if self.reasons else "healthy"


def judge(facts: Facts) -> Verdict:
    """What follows from what the hosts say."""
    found = [
        *_control(facts),
        *_database(facts),
        *_voters(facts),
        *_relays(facts),
        *_certificates(facts),
        *_silent(facts),
    ]
    return Verdict(tuple(sorted(found, key=lambda reason: -EXITS[reason.state])))


def primary(members: list[dict[str, Any]]) -> str | None:
    """The member that takes writes."""
    return next((m["Member"] for m in members if m["Role"] == "Leader" and _runs(m)), None)


def in_step(members: list[dict[str, Any]]) -> str | None:
    """The member that has every acknowledged write and may follow as primary."""
    return next((m["Member"] for m in members if m["Role"] == "Sync Standby" and _runs(m)), None)


def _runs(member: dict[str, Any]) -> bool:
    return member.get("State") in ("running", "streaming", "in archive recovery")


def _control(facts: Facts) -> Iterator[Reason]:
    told = {name: one for name, one in facts.guards.items() if isinstance(one, Guard)}
    serving = [name for name, one in told.items() if one.serves]
    if not told:
        text = "no control host could be asked: whether one serves is not known"
        yield Reason("down", text, "is your own way to them open? then the cloud's console")
    elif not serving and (held := [one for one in told.values() if one.fresh and one.held_s]):
        text = f"{held[0].host} keeps Headscale stopped, for {held[0].held_s:.0f} s at most"
        yield Reason("degraded", text, "addresses are being changed; look again in a minute")
    elif not serving:
        yield Reason("down", "no control host serves: nodes cannot join", _CONTROL)
    if len(serving) > 1:
        text = f"{' and '.join(serving)} both say that they serve; the fence lets one write"
        yield Reason("degraded", text, f"look again; if it stays so, {_CONTROL}")
    for name, one in facts.guards.items():
        yield from _one_control(name, one, serving)


def _one_control(name: str, one: Guard | Silence, serving: list[str]) -> Iterator[Reason]:
    if isinstance(one, Silence):
        yield Reason("degraded", f"{name}: {one.error.said}", one.error.remedy or _CONTROL)
    elif not one.fresh:
        text = f"{name}: its guard has said nothing for {show.span(one.age_s)}"
        yield Reason("degraded", text, f"meshctl ssh {name} -- systemctl status mesh-guard")
    elif not one.database:
        yield Reason("degraded", f"{name}: does not reach the primary", _DATABASE)
    elif name not in serving and not one.ready:
        yield Reason("degraded", f"{name}: {one.role}: {one.reason}", _CONTROL)


def _database(facts: Facts) -> Iterator[Reason]:
    members = facts.members
    if members is None:
        # The control hosts know whether there is a primary, not who.
        reached = any(
            isinstance(g, Guard) and g.fresh and g.database for g in facts.guards.values()
        )
        state: State = "degraded" if reached else "down"
        known = "a control host reaches one" if reached else "no control host reaches one"
        yield Reason(state, f"who is primary could not be asked; {known}", _DATABASE)
        return
    if primary(members) is None:
        yield Reason("down", "no primary: nothing can be written", _DATABASE)
    elif in_step(members) is None:
        text = "no standby in step: writes are on one disk only"
        yield Reason("degraded", text, _DATABASE)


def _voters(facts: Facts) -> Iterator[Reason]:
    if facts.voters is None:
        yield Reason("degraded", "no voter of etcd could be asked", "docs/runbooks/README.md")
        return
    ill = [name for name, well in facts.voters.items() if not well]
    if 2 * len(ill) >= len(facts.voters) > 0:
        text = f"etcd has no quorum: {', '.join(ill)} not healthy"
        yield Reason("down", text, _DATABASE)
    elif ill:
        text = f"etcd voter {', '.join(ill)} not healthy: one more lost and writes stop"
        yield Reason("degraded", text, f"meshctl ssh {ill[0]} -- systemctl status etcd")


def _relays(facts: Facts) -> Iterator[Reason]:
    told = facts.relays
    if told is None:
        yield Reason("degraded", "which relays are in the map could not be asked", _RELAY)
        return
    for relay in told["relays"]:
        if not relay["in_map"]:
            text = f"relay {relay['relay']} is out of the map: {relay['why']}"
            yield Reason("degraded", text, _RELAY)
        elif relay["failing_seconds"]:
            text = f"relay {relay['relay']} fails for {show.span(relay['failing_seconds'])}"
            yield Reason("degraded", text, "meshctl derp show")
    if told["own_network_sick"]:
        yield Reason("degraded", "more than half of the relays fail at once", _RELAY)
    if told["trouble"]:
        yield Reason("degraded", f"relays: no decision: {told['trouble']}", _RELAY)
    probes = [probe["age_seconds"] for r in told["relays"] for probe in r["probes"].values()]
    for who, age in (
        ("mesh-relay-watch", told["age_seconds"]),
        ("derpprobe", max(probes, default=0)),
    ):
        if age > QUIET_SECONDS:
            text = f"relays: {who} has told nothing for {show.span(age)}"
            yield Reason("degraded", text, f"meshctl ssh ops-1 -- systemctl status {who}")


def _certificates(facts: Facts) -> Iterator[Reason]:
    for name, left in facts.certificates.items():
        if left < CERTIFICATE_SECONDS:
            ends = f"ends in {show.span(left)}" if left > 0 else f"ended {show.span(-left)} ago"
            yield Reason("degraded", f"{name}: its certificate {ends}", _CERTIFICATE)


def _silent(facts: Facts) -> Iterator[Reason]:
    for name, error in facts.silent.items():
        if not (
            isinstance(error, UnreachableError) and error.because
        ):  # said of the host on the way
            do = error.remedy or f"meshctl ssh {name}"
            yield Reason("degraded", f"{name}: {error.said}", do)
