"""Before a drill and after it everything must be whole; a gate says what is not."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drills import streams
from drills.api import ApiError, Registry
from drills.mesh import Mesh
from drills.probes import Probes
from drills.sessions import Look
from drills.streams import ALIVE
from drills.writer import Write
from lab.world import netns, network
from lab.world.command import until

FRESH: Final = 3.0  # s; older words say nothing of now
IN_A_ROW: Final = 5  # acknowledged writes
_EACH: Final = 0.5  # s between two looks
_ETCD: Final = "http://127.0.0.1:2381/health"


@dataclass(frozen=True)
class Gate:
    """Whether the mesh is whole. `guarded` is off in the baseline: no guard runs, and
    the standby need not be in sync."""

    mesh: Mesh
    probes: Probes
    registry: Registry
    guarded: bool = True
    arbitrated: bool = False  # an arbiter runs

    def wait(self, within: float) -> None:
        """Return once everything is whole; DeadlineError naming what is missing."""
        missing: list[str] = ["nothing was looked at"]

        def whole() -> bool:
            missing[:] = self.missing()
            return not missing

        until(whole, within=within, what="whole", poll=_EACH, seen=lambda: "; ".join(missing))

    def missing(self) -> list[str]:
        """What is not whole; the slow questions are only asked when the quick ones are answered
        well.
        """
        now = time.monotonic()
        looks = {name: watch.last for name, watch in self.probes.sessions.items()}
        quick = [
            *self.probes.failures(),
            *database_lacks(looks, now, in_sync=self.guarded),
            *writers_lack(self.probes.writers.since(now - FRESH - 2)),
            *servers_lack(self.probes.servers.running()),
            *self._streams_lack(now),
        ]
        if self.guarded:
            guards = {name: self.mesh.guard(name) for name in self.mesh.controls}
            quick += [*guards_lack(guards, time.time()), *self._not_steered()]
        if self.arbitrated and self.guarded:
            quick += arbiter_lacks(self.mesh.arbiter(), time.time())
        return quick or [*self._etcd_lacks(), *self._nodes_lack()]

    def _streams_lack(self, now: float) -> list[str]:
        return [
            f"{watch.client.host.name}: hears nothing from Headscale"
            for watch in self.probes.streams
            if not _heard(watch.counts[-200:], now)
        ]

    def _not_steered(self) -> list[str]:
        """Streams that still run through the entry of the host that runs Headscale."""
        running = self.probes.servers.running()
        return [
            f"{client.host.name}: its stream runs through {', '.join(ways)}"
            for client in self.mesh.clients
            if {*(ways := streams.entries(client, self.mesh.entries))} & {*running}
        ]

    def _etcd_lacks(self) -> list[str]:
        found = {name: self._voter(name) for name in self.mesh.voters}
        return [f"etcd on {name}: {said}" for name, said in found.items() if said]

    def _voter(self, name: str) -> str:
        def ask() -> str:
            with urllib.request.urlopen(_ETCD, timeout=2) as answer:
                return "" if b'"health":"true"' in answer.read() else "not healthy"

        host = self.mesh.host(name)
        try:
            return netns.call(network.namespace_of(host.state, host.name), ask)
        except (urllib.error.URLError, OSError) as error:
            return str(error)

    def _nodes_lack(self) -> list[str]:
        wanted = {client.host.name for client in self.mesh.clients}
        try:
            gone = wanted - self.registry.online()
        except ApiError as error:
            return [f"nodes: {error}"]
        return [f"{name}: not online in Headscale's list" for name in sorted(gone)]


def _heard(counts: Sequence[Any], now: float) -> bool:
    recent = [count for count in counts if count.at > now - ALIVE]
    return bool(recent) and recent[-1].messages > recent[0].messages


def database_lacks(looks: Mapping[str, Look], now: float, *, in_sync: bool = True) -> list[str]:
    """What is missing to one primary with one standby that streams, and is in sync if so asked."""
    silent = [name for name, k in looks.items() if k.primary is None or now - k.at > FRESH]
    if silent:
        return [f"database {name}: does not answer" for name in silent]
    primaries = [name for name, k in looks.items() if k.primary]
    if len(primaries) != 1:
        return [f"primaries: {', '.join(primaries) or 'none'}"]
    primary = looks[primaries[0]]
    if (primary.sync if in_sync else primary.streaming) != len(looks) - 1:
        return [f"database {primaries[0]}: no standby streams{' in sync' if in_sync else ''}"]
    return []


def guards_lack(guards: Mapping[str, Mapping[str, Any]], now: float) -> list[str]:
    """What is missing to one active guard and standbys, all with their database. `now` is the
    time of day.
    """
    lacks = []
    for name, said in guards.items():
        if not said or abs(now - float(said["at"])) > FRESH:
            lacks.append(f"guard {name}: does not report")
        elif not said["database"]:
            lacks.append(f"guard {name}: does not reach the database")
        elif said["role"] == "active" and not said["server_answers"]:
            lacks.append(f"guard {name}: its server does not answer")
    roles = sorted(str(said.get("role", "gone")) for said in guards.values())
    if roles != ["active", *["standby"] * (len(guards) - 1)]:
        lacks.append(f"guards are {', '.join(roles)}")
    return lacks


def arbiter_lacks(said: Mapping[str, Any], now: float) -> list[str]:
    """What is missing to an arbiter that could act. `now` is the time of day."""
    if not said or abs(now - float(said["at"])) > FRESH:
        return ["arbiter: does not report"]
    if said["resting"] or said["state"] != "watching":
        return [f"arbiter: {'rests' if said['resting'] else said['reason']}"]
    return [] if said["quorum"] else ["arbiter: has no quorum"]


def servers_lack(running: Sequence[str]) -> list[str]:
    """Exactly one host runs Headscale."""
    return [] if len(running) == 1 else [f"Headscale runs on: {', '.join(running) or 'no host'}"]


def writers_lack(recent: Sequence[Write]) -> list[str]:
    """The newest writes were acknowledged, several in a row."""
    last = recent[-IN_A_ROW:]
    refused = [write.answer for write in last if not write.acknowledged]
    if len(last) < IN_A_ROW or refused:
        return [f"writer: {len(last)} recent answers, refused: {', '.join(refused) or 'none'}"]
    return []
