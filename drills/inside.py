"""Programs that run in a host for a while, beside the drill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import IO, Final

from lab.world import process
from lab.world.host import Host

PSQL: Final = (  # over the unix socket, so that no cut of the network blinds it
    *("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"),
    *("psql", "-XAtq", "--dbname=headscale"),
)


class Running:
    """One program in a host; lines go in and come out as text."""

    def __init__(self, host: Host, line: Sequence[str], *, quiet: bool = False) -> None:
        output = subprocess.DEVNULL if quiet else subprocess.PIPE
        self._process = subprocess.Popen(
            host.exec_line(line),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    @property
    def stdin(self) -> IO[str]:
        """What it reads."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[str]:
        """What it prints."""
        assert self._process.stdout is not None
        return self._process.stdout

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def end(self, within: float = 5) -> None:
        """End it; returns when it is gone. Whatever enters a host does so with a child of its
        own, and a signal to the parent would not reach that.
        """
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(within)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it did not read is lost, as it should
                    stream.close()

    def _signal(self, number: signal.Signals) -> None:
        own = process.current(self._process.pid)
        for pid in own.children() if own else []:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
                os.kill(pid, number)
