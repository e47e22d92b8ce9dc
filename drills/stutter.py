"""A host that is alive but slow: its processes run a small part of the time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable
from typing import Final

from lab.world import cgroup

STOPPED: Final = 0.9  # s of each turn
RUNNING: Final = 0.1


class Stutter:
    """Stops and continues everything in a control group in turn, until told to end."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"stutter {group}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Returns when all runs on."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            stopped = cgroup.pids(self._group)
            _tell(stopped, signal.SIGSTOP)
            self._ended.wait(STOPPED)
            _tell(stopped, signal.SIGCONT)
            self._ended.wait(RUNNING)


def _tell(pids: Iterable[int], what: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, what)
