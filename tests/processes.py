"""Other programs' processes, as tests see them: who is there, and when they have ended."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A running process."""

    pid: int
    command: str
    folder: Path


def running() -> list[Process]:
    """Every process that we may look at, but for zombies."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            words = (place / "cmdline").read_text(errors="replace").split("\0")
            found.append(Process(int(place.name), " ".join(words), (place / "cwd").readlink()))
    return found


def wait_for_ends(find: Callable[[], Iterable[Process]], within: float) -> None:
    """Return when `find` finds no process; AssertionError naming those left after `within` s."""
    deadline = time.monotonic() + within
    while left := list(find()):  # again: one of them may have started another
        for process in left:
            wait_for_end(process.pid, deadline - time.monotonic(), process.command)


def wait_for_end(pid: int, within: float, command: str = "") -> None:
    """Return when a process, also a stranger's, has ended; AssertionError after `within` s."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], max(within, 0))
    finally:
        os.close(descriptor)
    assert ended, f"process {pid} has not ended in time: {command}"
