"""The server as the guard's child: Headscale, or whatever the configuration says."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import urllib3

from guard import clock

log = logging.getLogger(__name__)

_LAUNCH: Final = Path(__file__).with_name("launch.py")


class Server:
    """One process that is started, watched and ended, again and again."""

    def __init__(self, command: Sequence[str], stop_seconds: float) -> None:
        # The kernel kills it when the guard dies, however that happens.
        self._command = [sys.executable, "-I", str(_LAUNCH), str(os.getpid()), *command]
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        process = self._process  # once: another thread asks while this one may end it
        return process.pid if process else None

    def start(self) -> None:
        """Start it; it must not be running. For the main thread: the kernel ends the server
        together with the thread that started it."""
        self._process = subprocess.Popen(self._command)
        self.started = clock.now()
        log.info("started the server, process %d", self._process.pid)

    def ended(self) -> int | None:
        """The exit status of a server that ended by itself, once; None while it runs."""
        status = self._process.poll() if self._process else None
        if status is not None:
            self._process = None
        return status

    def kill(self) -> None:
        """End it at once; returns when it is gone."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self, within: float) -> None:
        """Ask it to end, and kill it when it does not in its time, at most `within` seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(max(0.0, min(self._stop_seconds, within)))
        except subprocess.TimeoutExpired:
            log.info("the server did not end on request: killed")
        self.kill()


class Probe:
    """Asks the server whether it works."""

    def __init__(self, url: str, name: str, ca: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED",
            ca_certs=ca,
            server_hostname=name,
            assert_hostname=name,
            timeout=urllib3.Timeout(total=1.0),
            retries=False,
        )

    def answers(self) -> bool:
        """Whether it answered now."""
        try:
            return self._pool.request("GET", self._url).status == 200
        except urllib3.exceptions.HTTPError:
            return False
