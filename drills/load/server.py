"""A Headscale under load: a plain one of this machine, or the pair of a booted lab."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from drills.load.plan import MARK, Kind
from lab.world.authority import authority
from lab.world.command import run, until

DIST: Final = Path(__file__).parents[2] / "dist"
_UP_WITHIN: Final = 60.0  # s


class Server(Protocol):
    """What a load needs of the server that it is put on."""

    @property
    def url(self) -> str:
        """What nodes are told."""

    def headscale(self, *words: str, stdin: str = "") -> str:
        """What `headscale WORDS` says."""

    def pids(self) -> list[int]:
        """The server's processes."""

    def kill(self) -> float:
        """Kill the one that serves, as `kill -9`, and see that another takes over; the time of
        the kill (monotonic)."""


def program(name: str) -> Path:
    """A built program, from dist/."""
    manifest = json.loads((DIST / "manifest.json").read_text())
    return DIST / str(manifest[name]["path"])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Plain:
    """One Headscale on SQLite, as its own guide sets it up: no proxy, no guard, no pair."""

    folder: Path
    binary: Path
    port: int = field(default_factory=free_port)
    prefix: Sequence[str] = ()  # of the server's command line
    tuning: Mapping[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Plain:
        pem = authority().issue(["127.0.0.1"])
        descriptor = os.open(self.folder / "own.pem", os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        (self.folder / "map.yaml").write_text(yaml.safe_dump(_MAP))
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self._config()))
        try:
            self._start()
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGTERM)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def trust(self) -> str:
        """The file of authorities by which its certificate is good."""
        return str(authority().certificate)

    def headscale(self, *words: str, stdin: str = "") -> str:
        return run([*self._line(), *words], stdin=stdin).stdout

    def pids(self) -> list[int]:
        return [self._process.pid] if self._process else []

    def kill(self) -> float:
        at = time.monotonic()
        self._end(signal.SIGKILL)
        self._start()
        return at

    def _line(self) -> list[str]:
        return [str(self.binary), "--config", str(self.folder / "config.yaml")]

    def _start(self) -> None:
        log = self.folder / "headscale.log"
        with log.open("ab") as file:
            line = [*self.prefix, *self._line(), "serve"]
            self._process = process = subprocess.Popen(line, stdout=file, stderr=file)
        ask = ["curl", "--cacert", self.trust, "--silent", "--fail", "--max-time", "1"]

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"Headscale ended: {log.read_text()[-1000:]}")
            return run([*ask, f"{self.url}/health"], check=False).status == 0

        until(answers, within=_UP_WITHIN, what="Headscale", seen=lambda: log.read_text()[-500:])

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _config(self) -> dict[str, Any]:
        folder = self.folder
        return {
            "server_url": self.url,
            "listen_addr": f"127.0.0.1:{self.port}",
            "tls_cert_path": str(folder / "own.pem"),
            "tls_key_path": str(folder / "own.pem"),
            "metrics_listen_addr": "",
            "grpc_listen_addr": f"127.0.0.1:{free_port()}",
            "noise": {"private_key_path": str(folder / "noise.key")},
            "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
            "derp": {"server": {"enabled": False}, "urls": [], "paths": [str(folder / "map.yaml")]},
            "disable_check_updates": True,
            "database": {
                "type": "sqlite",
                "sqlite": {"path": str(folder / "db.sqlite"), "write_ahead_log": True},
            },
            "policy": {"mode": "database"},
            "dns": {"magic_dns": True, "base_domain": "ts.load.test", "override_local_dns": False},
            "unix_socket": str(folder / "headscale.sock"),
            "log": {"level": "warn"},
            **({"tuning": dict(self.tuning)} if self.tuning else {}),
        }


# A map must not be empty; no virtual node ever dials this relay.
_MAP: Final = {
    "regions": {
        900: {
            "regionid": 900,
            "regioncode": "none",
            "regionname": "None",
            "nodes": [{"name": "900a", "regionid": 900, "hostname": "relay.load.test"}],
        }
    }
}


# What is made on a server, and removed again


def ask(server: Server, *words: str) -> Any:
    """What `headscale -o json WORDS` answers."""
    return json.loads(server.headscale("-o", "json", *words) or "null")


def set_policy(server: Server, text: str) -> None:
    """Put a policy in force."""
    server.headscale("policy", "set", "--file", "/dev/stdin", stdin=text)


def make_users(server: Server, kinds: Sequence[Kind]) -> None:
    """The users who own nodes, where they are not there yet."""
    there = {user["name"] for user in ask(server, "users", "list") or []}
    for name in sorted({kind.user for kind in kinds if kind.user} - there):
        server.headscale("users", "create", name)


@contextmanager
def keys(server: Server, kinds: Sequence[Kind]) -> Iterator[dict[str, str]]:
    """A reusable pre-auth key by kind for half a day; deleted afterwards."""
    users = {user["name"]: str(user["id"]) for user in ask(server, "users", "list") or []}
    made = {}
    for kind in kinds:
        owner = ["--user", users[kind.user]] if kind.user else ["--tags", ",".join(kind.tags)]
        words = ["preauthkeys", "create", "--reusable", "--expiration", "12h", *owner]
        made[kind.name] = ask(server, *words)
    try:
        yield {name: str(key["key"]) for name, key in made.items()}
    finally:
        for key in made.values():
            server.headscale("preauthkeys", "expire", "--id", str(key["id"]))


def nodes(server: Server) -> dict[str, dict[str, Any]]:
    """Every node by its name."""
    return {node["given_name"]: node for node in ask(server, "nodes", "list") or []}


def remove_nodes(server: Server, names: Sequence[str] | None = None) -> int:
    """Delete the virtual nodes of these names, or all of them; how many they were."""
    gone = [
        node
        for name, node in nodes(server).items()
        if MARK in name and (names is None or name in names)
    ]
    for node in gone:
        server.headscale("nodes", "delete", "--force", "--identifier", str(node["id"]))
    return len(gone)
