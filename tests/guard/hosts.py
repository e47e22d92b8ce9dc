"""Control hosts of the tests: each a guard in a process of its own, with links that can be cut."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from guard.report import Role
from lab.world.ports import free_port
from tests.guard import certificates, database, waiting
from tests.guard.database import Database
from tests.guard.link import Link
from tests.guard.voters import Voters

ROOT: Final = Path(__file__).resolve().parents[2]
_CHILD: Final = Path(__file__).with_name("child.py")
LONG_LEASE: Final = 40  # s; nobody waits for the end of this one by mistake
TIMING: Final = {
    "lease": 3,
    "margin": 1.0,
    "renew": 0.4,
    "hung": 2.0,
    "stop": 1.0,
    "database": 4.5,
    "rest": 20.0,
    "crashes": 2,
}


@dataclass(frozen=True)
class World:
    """What the hosts of a session share."""

    voters: Voters
    database: Database
    authority: certificates.Authority
    server: certificates.Pair


class Host:
    """One control host. Verbs do; `status` and what ends with a value only look."""

    def __init__(
        self, world: World, folder: Path, name: str, peer: str, timing: Mapping[str, float]
    ) -> None:
        self.name = name
        self.world, self._folder = world, folder
        self._to_voters = [Link(voter.port) for voter in world.voters.each]
        self._to_database = Link(world.database.port)
        self._broken = folder / f"{name}.broken"
        self._file = folder / f"{name}.status"
        self._log = folder / f"{name}.log"
        self.hold_socket = folder / f"{name}.hold"
        self.metrics_port = free_port()
        self.environment: dict[str, str] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self.config = self._configuration(peer, {**TIMING, **timing})

    def _configuration(self, peer: str, timing: Mapping[str, float]) -> dict[str, Any]:
        trust, port = self.world.voters.trust, free_port()
        password = self._folder / "password"
        password.write_text(f"{database.PASSWORD}\n")
        server = self.world.server
        command = [sys.executable, str(_CHILD), str(port), str(server.certificate)]
        return {
            "host": self.name,
            "peers": [peer],
            "endpoints": [f"https://127.0.0.1:{link.port}" for link in self._to_voters],
            "prefix": f"/{self._folder.name}",
            "ca": trust.ca,
            "certificate": trust.certificate,
            "key": trust.key,
            "database": f"host=127.0.0.1 port={self._to_database.port} dbname=headscale "
            f"user=guard_{self.name.replace('-', '_')}",
            "password_file": str(password),
            "command": [*command, str(server.key), str(self._broken)],
            "probe": f"https://127.0.0.1:{port}/version",
            "probe_name": certificates.SERVER_NAME,
            "metrics_address": "127.0.0.1",
            "metrics_port": self.metrics_port,
            "status_file": str(self._file),
            "hold_socket": str(self.hold_socket),
            "timing": dict(timing),
        }

    # The guard

    def start(self) -> None:
        """Start the guard; it may have run before."""
        file = self._folder / f"{self.name}.json"
        file.write_text(json.dumps(self.config))
        with self._log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "guard", str(file)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    @property
    def guard(self) -> subprocess.Popen[bytes]:
        assert self._guard, f"the guard of {self.name} was never started"
        return self._guard

    def kill_guard(self) -> None:
        self.guard.kill()
        self.guard.wait()

    def ask_to_end(self) -> None:
        self.guard.send_signal(signal.SIGTERM)

    def ask_to_reload(self) -> None:
        self.guard.send_signal(signal.SIGHUP)

    def freeze_guard(self) -> None:
        self.guard.send_signal(signal.SIGSTOP)

    def thaw_guard(self) -> None:
        self.guard.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Leave nothing behind."""
        if self._guard and self._guard.poll() is None:
            self._guard.kill()
            self._guard.wait()
        for link in (*self._to_voters, self._to_database):
            link.end()

    # Its surroundings

    def cut_off_voters(self, but: int = 0) -> None:
        """All of them, or all but so many."""
        for link in self._to_voters[but:]:
            link.cut()

    def cut_off_database(self) -> None:
        self._to_database.cut()

    def heal(self) -> None:
        for link in (*self._to_voters, self._to_database):
            link.heal()

    def break_server(self) -> None:
        """From now on it ends as soon as it is started."""
        self._broken.touch()

    # What it says

    def status(self) -> dict[str, Any]:
        """The status file; empty before there is one."""
        return waiting.status(self._file)

    def log(self) -> str:
        return self._log.read_text()

    def role(self) -> Role | None:
        return self.status().get("role")

    def token(self) -> int:
        return int(self.status()["token"])

    def server(self) -> int:
        """The process of its server, which answers."""
        return int(self.until("its server answers", lambda s: s["server_answers"])["server_pid"])

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Its status when that holds; a failure shows its log."""
        return waiting.until_status(f"{self.name}: {what}", self._file, self._log, holds)

    def until_role(self, role: Role) -> dict[str, Any]:
        return self.until(f"is {role}", lambda status: status["role"] == role)

    def until_serving(self) -> int:
        """Active, and its server answers: the server's process."""
        self.until_role("active")
        return self.server()


@dataclass(frozen=True)
class Pair:
    """Two hosts that compete."""

    active: Host
    standby: Host

    def swapped(self) -> Pair:
        return Pair(self.standby, self.active)
