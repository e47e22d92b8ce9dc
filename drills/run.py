"""One drill, from whole to whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from drills import newcomer, streams
from drills.actions import Target
from drills.api import ApiError, Registry
from drills.faults import Fault
from drills.gate import Gate
from drills.inside import PSQL
from drills.intervals import Outage, outage
from drills.mesh import Mesh
from drills.newcomer import Newcomers
from drills.probes import Probes
from drills.record import Record
from drills.writer import PREFIX
from lab.world.command import until
from lab.world.errors import DeadlineError, WorldError

GAP: Final = 1.0  # s without an acknowledged write are an outage
CALM: Final = 3.0  # s with writes before they count as back
WHOLE: Final = 240.0  # s that the mesh may take to be whole; a client may only retransmit every 120
_SETTLE: Final = 15.0  # s that a write may take to reach the standby
_NAMES: Final = f"SELECT name FROM users WHERE name LIKE '{PREFIX}%'"
_FORGET: Final = f"DELETE FROM users WHERE name LIKE '{PREFIX}%'"
Say = Callable[[str], None]


class DrillError(Exception):
    """A drill that could not be carried out; says what was not so."""


@dataclass
class Times:
    """When what was done, on the monotonic clock."""

    fault: float = 0.0
    healing: float = 0.0
    whole: float | None = None
    ended: float = 0.0  # of the writes


@dataclass
class Drill:
    """One fault, brought about once."""

    name: str
    fault: Fault
    mesh: Mesh
    probes: Probes
    registry: Registry
    gate: Gate
    design: str
    patience: float  # s that the mesh may take to serve again before it is healed all the same
    say: Say
    times: Times = field(default_factory=Times)
    dead: frozenset[str] = frozenset()  # clients on a silent entry
    takeovers: int = 0  # of the arbiter, before
    failed: str = ""

    def run(self) -> Record:
        """Its record. The fault is undone whatever happens; what goes wrong is in the record."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.say("waiting until all is whole")
        self.gate.wait(WHOLE)
        self.probes.forget()
        self.takeovers = self._takeovers()
        target, ways = self._target(), self._entries()
        newcomers = self._newcomers()
        self.times.fault = time.monotonic()
        newcomers.start()
        try:
            self._hurt(target, newcomers, ways)
            self._await_whole()
        finally:
            newcomers.stop()
        try:
            return self._record(at, target, ways, newcomers, self._check())
        finally:
            self._clean()

    # Before

    def _target(self) -> Target:
        running, primary = self.probes.servers.running(), self.probes.primary()
        if len(running) != 1 or primary is None:
            raise DrillError(f"Headscale runs on {running}, primary is {primary}")
        active = running[0]
        return Target(
            mesh=self.mesh,
            probes=self.probes,
            active=active,
            standby=next(name for name in self.mesh.controls if name != active),
            primary=primary,
            replica=next(name for name in self.mesh.databases if name != primary),
        )

    def _entries(self) -> dict[str, list[str]]:
        return {c.host.name: streams.entries(c, self.mesh.entries) for c in self.mesh.clients}

    def _newcomers(self) -> Newcomers:
        key = self.mesh.outputs["keys"]["prod-servers"]
        return Newcomers(self.mesh.clients[1], self.mesh.server_url, key)

    # During

    def _hurt(self, target: Target, newcomers: Newcomers, ways: Mapping[str, list[str]]) -> None:
        silent = set(self.fault.silent(target))
        self.dead = frozenset(name for name, way in ways.items() if silent & {*way})
        self.say(f"{self.fault.title} ({target.active} active, {target.primary} primary)")
        try:
            self.fault.inject(target)
            self._observe(newcomers)
        finally:
            self.say("healing")
            self.times.healing = time.monotonic()
            self.fault.heal(target)

    def _observe(self, newcomers: Newcomers) -> None:
        """Until the mesh serves again, and the fault has lasted long enough."""
        holds = self.times.fault + self.fault.holds
        until(lambda: time.monotonic() > holds, within=self.fault.holds + 5, what="the fault")
        if not self.fault.returns:
            return
        try:
            until(
                lambda: not self._away(newcomers),
                within=self.patience,
                what="service",
                poll=0.2,
                seen=lambda: ", ".join(self._away(newcomers)),
            )
        except DeadlineError as error:
            self.say(error.message)  # the record says what never came back

    def _away(self, newcomers: Newcomers) -> list[str]:
        """What is not back yet."""
        writes = self._writes(time.monotonic())
        if writes.back is None or not self._calm():
            return ["writes"]
        back = self.times.fault + writes.back
        away = [name for name, seconds in self._clients(back).items() if seconds is None]
        return away + ([] if newcomers.registered_after(back) else ["a new client"])

    def _calm(self) -> bool:
        now = time.monotonic()
        times = self.probes.writers.acknowledged(now - CALM - GAP)
        return outage(times, now - CALM, now, now, GAP).back == 0

    def _writes(self, until: float) -> Outage:
        times = self.probes.writers.acknowledged(self.times.fault - 5)
        now = self.times.ended or time.monotonic()
        return outage(times, self.times.fault, until, now, GAP)

    def _clients(self, writes_back: float) -> dict[str, float | None]:
        """Back before the heal, if they were: afterwards mesh-entry moves streams about."""
        found = {}
        for watch in self.probes.streams:
            counts, fault = list(watch.counts), self.times.fault
            held = [c for c in counts if not self.times.healing or c.at <= self.times.healing]
            back = streams.stream_back(held, fault, writes_back)
            if back is None:
                back = streams.stream_back(counts, fault, writes_back)
            found[watch.client.host.name] = back
        return found

    # After

    def _await_whole(self) -> None:
        self.say("waiting until all is whole again")
        try:
            self.gate.wait(WHOLE)
            self.times.whole = time.monotonic()
        except DeadlineError as error:
            self.failed = error.message

    def _takeovers(self) -> int:
        return int(self.mesh.arbiter().get("takeovers", 0))

    def _arbitrated(self) -> int:
        """How often the arbiter acted since; it counts anew when it was started anew."""
        now = self._takeovers()
        acted = now - self.takeovers if now >= self.takeovers else now
        if acted and not self.fault.arbitrated:
            self.failed = self.failed or "the arbiter took the primary's key away"
        return acted

    def _check(self) -> dict[str, list[str]]:
        """The acknowledged names that are missing, by where. Nothing is written from here on."""
        self.say("looking for every acknowledged write")
        self.times.ended = time.monotonic()
        self.probes.writers.pause()
        writes = self.probes.writers.since(self.times.fault - 5)
        missing = self._missing({write.name for write in writes if write.acknowledged})
        return {where: sorted(names) for where, names in missing.items()}

    def _clean(self) -> None:
        """Nothing that drills made is left, and writes go on; what stays is in nobody's way."""
        primary = self.probes.primary()
        try:
            if primary:
                self._query(primary, _FORGET)
            self.registry.remove_nodes(newcomer.PREFIX)
        except (ApiError, WorldError) as error:
            self.say(f"not cleaned up: {error}")
        self.probes.writers.forget()
        self.probes.writers.resume()

    def _missing(self, wanted: set[str]) -> dict[str, set[str]]:
        places: dict[str, Callable[[], Iterable[str]]] = {"the API": self.registry.users}
        for name in self.mesh.databases:
            places[name] = partial(self._query, name, _NAMES)
        missing: dict[str, set[str]] = {}

        def found() -> bool:
            missing.update({where: wanted - {*names()} for where, names in places.items()})
            return not any(missing.values())

        try:
            until(found, within=_SETTLE, what="every acknowledged write", poll=0.5)
        except DeadlineError:
            self.say("acknowledged writes are missing")
        return missing

    def _query(self, name: str, statement: str) -> list[str]:
        return self.mesh.host(name).exec([*PSQL, f"--command={statement}"]).stdout.split()

    def _record(
        self,
        at: str,
        target: Target,
        ways: Mapping[str, list[str]],
        newcomers: Newcomers,
        lost: Mapping[str, list[str]],
    ) -> Record:
        times, now = self.times, self.times.ended
        # What the fault broke; a gap that only the heal brings is in the details.
        writes = self._writes(times.healing)
        back = times.fault + (writes.back or 0.0)
        clients = self._clients(back)
        details = self._details(target, ways, newcomers, clients, lost)
        registered = newcomers.registered_after(back) if writes.back is not None else None
        return Record(
            fault=self.name,
            at=at,
            design=self.design,
            clients_back_s=_slowest([s for name, s in clients.items() if name not in self.dead]),
            clients_on_dead_entry=len(self.dead),
            dead_entry_back_s=_slowest(self._dead_back(clients)),
            registration_back_s=_rounded(registered - times.fault if registered else None),
            writes_back_s=_rounded(writes.back),
            writes_gap_s=round(writes.longest, 2),
            lost_acknowledged=len({name for names in lost.values() for name in names}),
            double_writer_s=round(self.probes.two_writers(times.fault, now), 3),
            lost_pings=self.probes.pings.lost(times.fault - 1, now),
            whole_again_s=_rounded(times.whole - times.healing if times.whole else None),
            acknowledged=len(self.probes.writers.acknowledged(times.fault)),
            failed=self.failed,
            details=details,
        )

    def _dead_back(self, clients: Mapping[str, float | None]) -> list[float | None]:
        """Of the clients on a silent entry; what only the heal brought back did not come back."""
        held = self.times.healing - self.times.fault
        dead = [seconds for name, seconds in clients.items() if name in self.dead]
        return [seconds if seconds is not None and seconds <= held else None for seconds in dead]

    def _details(
        self,
        target: Target,
        ways: Mapping[str, list[str]],
        newcomers: Newcomers,
        clients: Mapping[str, float | None],
        lost: Mapping[str, list[str]],
    ) -> dict[str, Any]:
        """What explains the record; what did not happen is left out."""
        times, now = self.times, self.times.ended
        details: dict[str, Any] = {
            "active": target.active,
            "primary": target.primary,
            "held_s": round(times.healing - times.fault, 2),
            "load": round(os.getloadavg()[0], 1),  # of this machine; tells busy times
            "clients": {
                name: {"entry": "+".join(ways[name]), "back_s": _rounded(seconds)}
                for name, seconds in clients.items()
            },
            "registrations_s": [round(a.ended - a.began, 2) for a in newcomers.attempts],
            "two_servers_s": round(self.probes.two_servers(times.fault, now), 3),
            "outsider_sessions_s": round(self.probes.outsiders(times.fault, now), 3),
            "answers": self._answers(),
        }
        if target.pids:
            details["frozen"], details["woken"] = len(target.pids), target.woken
        if acted := self._arbitrated():
            details["arbitrated"] = acted
        later = self._writes(now)
        if later != self._writes(times.healing):
            details["writes_after_heal_s"] = [_rounded(later.back), round(later.longest, 2)]
        if any(lost.values()):
            details["lost"] = dict(lost)
        return details

    def _answers(self) -> dict[str, int]:
        """How often the writers got which answer since the fault."""
        found = [write.answer for write in self.probes.writers.since(self.times.fault)]
        return {answer: found.count(answer) for answer in sorted({*found})}


def _slowest(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(max(known), 2) if known and len(known) == len(values) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
