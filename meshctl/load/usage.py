"""What server processes take, by this machine's process table; the lab's hosts share its kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """At one time: CPU seconds since the beginning, memory and open files of what runs now."""

    cpu_s: float
    rss_mib: float
    descriptors: int


def unknown() -> Usage:
    """Of a server elsewhere."""
    return Usage(0, 0, 0)


@dataclass
class Meter:
    """Adds up the CPU time of processes that come and go. What one takes between the last reading
    and its end is lost, which matters only to a reading around a kill."""

    pids: Callable[[], Sequence[int]]
    _ended: float = field(default=0, init=False)
    _last: dict[int, float] = field(default_factory=dict, init=False)

    def read(self) -> Usage:
        """The usage now."""
        cpu, rss, files = dict[int, float](), 0.0, 0
        for pid in self.pids():
            try:
                cpu[pid], rss_now, files_now = _one(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            rss, files = rss + rss_now, files + files_now
        self._ended += sum(last for pid, last in self._last.items() if pid not in cpu)
        self._last = cpu
        return Usage(self._ended + sum(cpu.values()), rss, files)


def _one(pid: int) -> tuple[float, float, int]:
    folder = _PROC / str(pid)
    stat = (folder / "stat").read_text().rpartition(")")[2].split()
    pages = int((folder / "statm").read_text().split()[1])
    files = sum(1 for _ in (folder / "fd").iterdir())
    rss = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return (int(stat[11]) + int(stat[12])) / _TICKS, rss, files
