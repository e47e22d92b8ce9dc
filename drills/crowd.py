"""Many real Tailscale clients on one machine of the lab, and connections between them.

Each is a tailscaled with its own state, key and name, but without a network device, so that fifty
fit on one machine. drills/crowd_agent.py runs them there; this is its other end.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from drills.client import Client
from lab.world.host import Host
from lab.world.world import World

# Every port that a rule of the policy names.
PORTS: Final = (22, 53, 80, 443, 3000, 3306, 5432, 5672, 6379, 8080, 8443, 9090, 9093, 15672, 27017)
HOST: Final = "crowd"  # the machine's name in the lab
LOGINS: Final = ("ubuntu", "centos")  # users of the machine, beside root, for Tailscale SSH
JOIN_WITHIN: Final = 90.0  # s for one client
JOINS_AT_ONCE: Final = 4  # Headscale checks a key with bcrypt, 0.07 CPU seconds each
# A connection is let in or dropped within a second; what is neither is a fault of the test.
ANSWER_WITHIN: Final = 4.0  # s; the proxy itself gives up after 5 and then does not say why
CONNECTIONS_AT_ONCE: Final = 64
_AGENT: Final = ("__init__.py", "crowd_agent.py", "crowd_client.py")  # all that runs there
_PLACE: Final = "/usr/local/lib/crowd"
_FOLDER: Final = "/run/crowd"
_END_WITHIN: Final = 60.0  # s


class CrowdError(Exception):
    """The machine of the crowd said no, or nothing any more."""


class Machine(Protocol):
    """Where the clients run."""

    def exec_line(self, line: Sequence[str]) -> list[str]:
        """The command line here that runs `line` there."""
        ...


@dataclass(frozen=True)
class Try:
    """One attempt at a connection.

    `outcome` is *connected*; *dropped*, when the destination's packet filter said so; *refused*,
    when something closed the connection; *silent*, when nothing came back. `seen` says whether
    the source knew the destination at all: Headscale tells nobody of a node that no rule opens.
    `via` is the client that brought the connection, `origin` the caller's node as that one saw it.
    """

    source: str
    address: str
    port: int
    outcome: str
    seconds: float
    seen: bool
    via: str = ""
    origin: str = ""
    banner: str = ""
    said: str = ""


@dataclass(frozen=True)
class Join:
    """One client that joined, or did not; times on the monotonic clock."""

    joined: bool
    began: float
    ended: float
    address: str
    said: str


@dataclass(frozen=True)
class Login:
    """One attempt at Tailscale SSH: who the caller was there (nobody when empty)."""

    source: str
    address: str
    user: str
    got: str
    said: str = field(repr=False, default="")


class Crowd:
    """The clients of one machine. Leaving it ends them; the server keeps their nodes."""

    def __init__(
        self,
        machine: Machine,
        place: str = _PLACE,
        folder: str = _FOLDER,
        ports: Sequence[int] = PORTS,
    ) -> None:
        agent = ["env", f"PYTHONPATH={place}", "python3", "-m", "drills.crowd_agent"]
        self._line = machine.exec_line([*agent, folder, *map(str, ports)])
        self._turn = threading.Lock()  # the machine answers one request at a time
        self._process: subprocess.Popen[str] | None = None
        self._names: list[str] = []

    @classmethod
    def boot(cls, world: World, name: str = HOST) -> Crowd:
        """On a machine of the lab, which is booted when it is not there yet."""
        there = name in {host.name for host in world.hosts()}
        host = world.host(name) if there else Client.boot(world, name).host
        host.start()
        _prepare(host)
        return cls(host)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        try:
            self._read()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    # Clients

    def start(self, names: Collection[str]) -> None:
        """Clients that are not in the mesh yet."""
        self._ask("start", names=list(names))
        self._names += [name for name in names if name not in self._names]

    def join(
        self, server: str, keys: Mapping[str, str], at_once: int = JOINS_AT_ONCE
    ) -> dict[str, Join]:
        """Bring clients into the mesh, each by its key, under the name that it has here."""
        self.start(keys)
        told = self._ask("join", server=server, keys=keys, at_once=at_once, within=JOIN_WITHIN)
        return {name: Join(**found) for name, found in told.items()}

    def end(self, names: Collection[str] = ()) -> None:
        """End these clients, or all of them, and forget all they knew."""
        self._ask("end", names=list(names))
        self._names = [name for name in self._names if names and name not in names]

    @property
    def names(self) -> tuple[str, ...]:
        """The clients that run."""
        return tuple(self._names)

    def addresses(self) -> dict[str, str]:
        """By name: the mesh address that a client has now; empty when it is not in the mesh."""
        return {name: str(found["address"]) for name, found in self.status().items()}

    def status(self) -> dict[str, dict[str, Any]]:
        """By name: `state`, `address`, and `peers`, names by address."""
        told: dict[str, dict[str, Any]] = self._ask("status", names=self._names)
        return told

    def allow_ssh(self, names: Collection[str], on: bool) -> None:
        """Serve Tailscale SSH on these clients, or no more (as `tailscale set --ssh`)."""
        self._ask("prefs", names=list(names), change={"RunSSH": on})

    # Connections

    def connect(self, rows: Sequence[tuple[str, str, int]]) -> list[Try]:
        """Try each source, address and port."""
        told = self._ask("connect", rows=rows, at_once=CONNECTIONS_AT_ONCE, within=ANSWER_WITHIN)
        return [Try(*row, **found) for row, found in zip(rows, told, strict=True)]

    def send(self, rows: Sequence[tuple[str, str, int]]) -> list[Try]:
        """The same by UDP; connected is what was answered. One that no answer comes to is sent
        again meanwhile.
        """
        told = self._ask("send", rows=rows, at_once=CONNECTIONS_AT_ONCE, within=ANSWER_WITHIN)
        return [Try(*row, **found) for row, found in zip(rows, told, strict=True)]

    def ping(self, pairs: Sequence[tuple[str, str]], within: float = 30.0) -> list[str]:
        """For each source and address: nothing, or why no answer came through the tunnel. No
        rule of the policy matters but that the source must know the destination.
        """
        told: list[str] = self._ask("ping", pairs=pairs, at_once=16, within=within)
        return told

    def follow(
        self, moves: Mapping[str, str], to: Mapping[str, str], within: float
    ) -> dict[str, dict[str, float | None]]:
        """By name, when (monotonic) a client had its new address of `moves`, and when it had the
        first answer of the client `to` thereafter. Returns when all have, or after `within` s.
        """
        told: dict[str, dict[str, float | None]] = self._ask(
            "follow", moves=moves, to=to, within=within
        )
        return told

    def ssh(self, rows: Sequence[tuple[str, str, str]]) -> list[Login]:
        """Try Tailscale SSH for each source, address and user."""
        told = self._ask("ssh", rows=rows, at_once=8, within=6)
        return [
            Login(*row, got=found["as"], said=found["said"])
            for row, found in zip(rows, told, strict=True)
        ]

    # The machine

    def _ask(self, do: str, **words: Any) -> Any:
        with self._turn:
            if self._process is None or self._process.stdin is None:
                raise CrowdError("the crowd was not entered")
            with suppress(BrokenPipeError):  # reading tells why
                self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
            return self._read()

    def _read(self) -> Any:
        assert self._process and self._process.stdout and self._process.stderr
        line = self._process.stdout.readline()
        if not line:
            raise CrowdError(f"the crowd ended: {self._process.stderr.read()[-500:]}")
        told = json.loads(line)
        if "trouble" in told:
            raise CrowdError(told["trouble"])
        return told["answer"]

    def _end(self) -> None:
        """The end of its input ends the program there and every client."""
        if self._process is None:
            return
        process, self._process, self._names = self._process, None, []
        try:
            process.communicate(timeout=_END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            raise CrowdError(f"the crowd did not end within {_END_WITHIN:g} s") from None


def _prepare(host: Host) -> None:
    """The program, room for its port 22, and users to log in as."""
    for name in _AGENT:
        target = f"{_PLACE}/drills/{name}"
        source = (Path(__file__).parent / name).read_bytes()
        host.exec(["install", "-D", "-m", "644", "/dev/stdin", target], stdin=source)
    host.exec(["systemctl", "stop", "tailscaled.service"])
    host.exec(["systemctl", "stop", "ssh.socket", "ssh.service"], check=False)
    for user in LOGINS:
        if host.exec(["id", user], check=False).status != 0:
            host.exec(["useradd", "--create-home", "--shell", "/bin/sh", user])
