"""All that watches during a drill, and what it says of a stretch of time."""

from __future__ import annotations

from types import TracebackType

from drills import servers, sessions
from drills.api import Api
from drills.intervals import Interval, common, held, merged, total, within
from drills.mesh import Mesh
from drills.sampler import Sampler
from drills.servers import ServerWatch
from drills.sessions import SessionWatch
from drills.streams import Pings, StreamWatch
from drills.writer import Writers


class Probes:
    """Every sampler; they run while this is entered."""

    def __init__(self, mesh: Mesh, api: Api) -> None:
        self.servers = ServerWatch({name: mesh.host(name).group for name in mesh.controls})
        controls = {mesh.private(name): name for name in mesh.controls}
        self.sessions = {
            name: SessionWatch(name, mesh.host(name), controls) for name in mesh.databases
        }
        self.writers = Writers(api, mesh.world.operator.namespace.name)
        self.streams = [StreamWatch(client) for client in mesh.clients]
        self.pings = Pings(mesh.clients[1], mesh.clients[0])

    @property
    def _all(self) -> list[Sampler]:
        watches = [self.servers, *self.sessions.values(), *self.streams, self.pings]
        return [*watches, *self.writers.each]

    def __enter__(self) -> Probes:
        for sampler in self._all:
            sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sampler in self._all:
            sampler.stop()

    def failures(self) -> list[str]:
        """Samplers that do not sample any more, and why."""
        return [f"{one.name}: {one.failure!r}" for one in self._all if one.failure]

    def primary(self) -> str | None:
        """The database host that says that it is primary, if exactly one does."""
        found = [name for name, watch in self.sessions.items() if watch.last.primary]
        return found[0] if len(found) == 1 else None

    def forget(self) -> None:
        """Drop all samples but the newest: an earlier drill's are of no use. Writes are dropped
        when they are removed from the database.
        """
        del self.pings.answers[:-1]
        for samples in self.servers.samples.values():
            del samples[:-1]
        for session in self.sessions.values():
            del session.looks[:-1]
        for stream in self.streams:
            del stream.counts[:-1]

    # Who could write

    def two_servers(self, start: float, end: float) -> float:
        """Seconds in which servers could run on two control hosts."""
        return total(within(self._pairs(self._running), start, end))

    def two_writers(self, start: float, end: float) -> float:
        """Seconds in which two control hosts each had a server that could run *and* a session
        in a database that took writes.
        """
        return total(within(self._pairs(self._writing), start, end))

    def outsiders(self, start: float, end: float) -> float:
        """Seconds in which a host that does not hold the fence had a session in a primary: a
        frozen server that woke, had it still been let in.
        """
        found: list[Interval] = []
        for watch in self.sessions.values():
            looks = [(k.at, bool(k.primary and k.writers - {k.holder})) for k in list(watch.looks)]
            found += held(looks, sessions.LONGEST)
        return total(within(found, start, end))

    def _pairs(self, when: dict[str, list[Interval]]) -> list[Interval]:
        one, other = when.values()
        return common(one, other)

    @property
    def _running(self) -> dict[str, list[Interval]]:
        samples = self.servers.samples
        return {name: held(list(samples[name]), servers.LONGEST) for name in samples}

    @property
    def _writing(self) -> dict[str, list[Interval]]:
        return {name: common(when, self._admitted(name)) for name, when in self._running.items()}

    def _admitted(self, control: str) -> list[Interval]:
        """When some primary had a session of that host's Headscale."""
        found: list[Interval] = []
        for watch in self.sessions.values():
            looks = [(k.at, bool(k.primary and control in k.writers)) for k in list(watch.looks)]
            found += held(looks, sessions.LONGEST)
        return merged(found)
