"""Brand-new clients that register one after another, on a host that is a client already."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drills.client import Client
from drills.inside import Running
from lab.world.command import until
from lab.world.errors import WorldError

PREFIX: Final = "drill-"
_FOLDER: Final = "/run/drill-newcomer"
_KEY: Final = f"{_FOLDER}/key"
_LIMIT: Final = 60  # s for one of them


@dataclass(frozen=True)
class Attempt:
    """One new client: when it was started, when it was registered or gave up."""

    began: float
    ended: float
    registered: bool
    said: str


class Newcomers:
    """Registers new clients from `start` on until `stop`."""

    def __init__(self, client: Client, server: str, key: str) -> None:
        self.attempts: list[Attempt] = []
        self._client, self._server, self._key = client, server, key
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="newcomers", daemon=True)

    def start(self) -> None:
        """The first one starts now."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when the last one is done."""
        self._over.set()
        self._thread.join()

    def registered_after(self, moment: float) -> float | None:
        """When the first registration after that moment was done."""
        return next((a.ended for a in self.attempts if a.registered and a.ended >= moment), None)

    def _run(self) -> None:
        host = self._client.host
        host.exec(["install", "-d", "-m", "700", _FOLDER])
        host.exec(["install", "-m", "600", "/dev/stdin", _KEY], stdin=self._key)
        try:
            while not self._over.is_set():
                self.attempts.append(self._one())
                self._over.wait(0.5)
        finally:
            host.exec(["rm", "-rf", _FOLDER])

    def _one(self) -> Attempt:
        host, began = self._client.host, time.monotonic()
        folder = f"{_FOLDER}/{time.time_ns()}"
        daemon = Running(
            host,
            [
                *("tailscaled", "--tun=userspace-networking", "--state=mem:", "--port=0"),
                *(f"--statedir={folder}", f"--socket={folder}.sock", "--no-logs-no-support"),
            ],
            quiet=True,
        )
        socket = Path(f"/proc/{host.leader()}/root{folder}.sock")
        try:
            until(socket.exists, within=20, what="tailscaled's socket")
            done = host.exec(self._up(folder), check=False, within=_LIMIT + 10)
            status, said = done.status, done.stderr.strip()[-200:]
        except WorldError as error:
            status, said = 1, error.message[-200:]
        finally:
            ended = time.monotonic()
            daemon.end()
        return Attempt(began, ended, status == 0, said)

    def _up(self, folder: str) -> list[str]:
        name = f"{PREFIX}{time.time_ns() // 1_000_000}"
        return [
            *("tailscale", f"--socket={folder}.sock", "up", "--login-server", self._server),
            *("--auth-key", f"file:{_KEY}", "--hostname", name, "--timeout", f"{_LIMIT}s"),
        ]
