"""Which control hosts have a Headscale server that can run.

All hosts share this machine's kernel, so its process table shows each of them at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from drills.sampler import Sampler

EACH: Final = 0.05  # s between two looks
LONGEST: Final = 0.5  # s that one look may stand for
_PROC: Final = Path("/proc")
_YOUNG: Final = 3.0  # s in which a new process may still become another program
_IDLE: Final = "TtZX"  # stopped, traced, zombie, dead: they run nothing


class ServerWatch(Sampler):
    """Samples by control host: when, and whether a server could run there."""

    def __init__(self, groups: Mapping[str, str]) -> None:
        super().__init__("servers", EACH)
        self.samples: dict[str, list[tuple[float, bool]]] = {name: [] for name in groups}
        self._groups = {name: f"0::/{group}/" for name, group in groups.items()}
        self._first_seen: dict[int, float] = {}
        self._servers: dict[int, str] = {}  # process → host
        self._strangers: set[int] = set()

    def look(self) -> None:
        now = time.monotonic()
        self._read_table(now)
        running = {
            host for pid, host in list(self._servers.items()) if (state(pid) or "X") not in _IDLE
        }
        for name, samples in self.samples.items():
            samples.append((now, name in running))

    def pids(self, name: str) -> list[int]:
        """The server processes of a host, as this machine numbers them."""
        return [pid for pid, host in list(self._servers.items()) if host == name]

    def running(self) -> list[str]:
        """The hosts where a server could run at the last look."""
        return [name for name, samples in self.samples.items() if samples and samples[-1][1]]

    def _read_table(self, now: float) -> None:
        present = {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()}
        for pid in self._first_seen.keys() - present:
            del self._first_seen[pid]
            self._servers.pop(pid, None)
            self._strangers.discard(pid)
        for pid in present - self._strangers - self._servers.keys():
            first = self._first_seen.setdefault(pid, now)
            if host := self._host_of_server(pid):
                self._servers[pid] = host
            elif now - first > _YOUNG:
                self._strangers.add(pid)

    def _host_of_server(self, pid: int) -> str | None:
        try:
            folder = Path(f"/proc/{pid}")
            if (folder / "comm").read_text() != "headscale\n":
                return None
            if b"serve" not in (folder / "cmdline").read_bytes().split(b"\0"):
                return None  # the command line tool
            lines = (folder / "cgroup").read_text().splitlines()
        except OSError:
            return None  # it ended meanwhile
        found = (n for n, mark in self._groups.items() if any(x.startswith(mark) for x in lines))
        return next(found, None)


def program(pid: int) -> str | None:
    """The name of a process's program; None when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def state(pid: int) -> str | None:
    """A process's state as one letter, see proc(5); None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()[0]
