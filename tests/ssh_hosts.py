"""Hosts for tests: real SSH servers on the loopback, each with a key of its own, whose commands
give scripted answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncssh

ROLES: Final = {"hs-1": "control", "hs-2": "control", "pg-1": "database", "pg-2": "database",
                "ops-1": "ops", "derp-bj": "relay", "derp-sh": "relay"}  # fmt: skip
PRIVATE: Final = ("pg-1", "pg-2")


@dataclass(frozen=True)
class Said:
    """How a command ends."""

    stdout: str = ""
    status: int = 0
    stderr: str = ""


def json_said(value: object, status: int = 0) -> Said:
    """A JSON document on standard output."""
    return Said(json.dumps(value) + "\n", status)


SILENT: Final = Said(status=-1)  # a command that does not end by itself
Script = Said | Callable[[str], Said]  # of what is on standard input


def not_found(command: str, stdin: str) -> Said:
    """What a host says to a command that it does not have."""
    return Said(status=127, stderr=f"{command}: not found\n")


@dataclass
class SshHost:
    """One host: what it answers to which command, and what it was asked."""

    name: str
    key: asyncssh.SSHKey
    port: int = 0
    answers: dict[str, Script] = field(default_factory=dict)
    otherwise: Callable[[str, str], Said] = not_found  # of command and standard input
    asked: list[tuple[str, str]] = field(default_factory=list)  # command, standard input
    forwarded: list[int] = field(default_factory=list)  # ports that others were led to
    _acceptor: asyncssh.SSHAcceptor | None = None

    async def listen(self, allowed: asyncssh.SSHAuthorizedKeys) -> None:
        """Serve from now on."""
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_host_keys=[self.key],
            authorized_client_keys=allowed,
            server_factory=lambda: _Server(self),
            process_factory=self._serve,
        )
        self.port = self._acceptor.get_port()

    def close(self) -> None:
        """The host is gone."""
        if self._acceptor:
            self._acceptor.close()

    async def _serve(self, process: asyncssh.SSHServerProcess[str]) -> None:
        command, stdin = process.command or "", await process.stdin.read()
        self.asked.append((command, stdin))
        script = self.answers.get(command) or self.otherwise(command, stdin)
        said = script if isinstance(script, Said) else script(stdin)
        if said is SILENT:
            await process.wait_closed()
            return
        process.stdout.write(said.stdout)
        process.stderr.write(said.stderr)
        process.exit(said.status)


class _Server(asyncssh.SSHServer):
    """Lets user mesh in; ops-1 leads on to others."""

    def __init__(self, host: SshHost) -> None:
        self._host = host

    def begin_auth(self, username: str) -> bool:
        if username != "mesh":
            raise asyncssh.PermissionDenied(f"no user {username}")
        return True

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        self._host.forwarded.append(dest_port)
        return self._host.name == "ops-1"


@dataclass
class Fleet:
    """The hosts of a small mesh, and the outputs of its stack in a file."""

    hosts: dict[str, SshHost]
    outputs: Path
    operators_key: str
    _loop: asyncio.AbstractEventLoop

    def __getitem__(self, name: str) -> SshHost:
        return self.hosts[name]

    def lose(self, name: str) -> None:
        """A host does not answer any more."""
        self._loop.call_soon_threadsafe(self.hosts[name].close)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(10)

    def told(self, **changes: Any) -> dict[str, Any]:
        """The stack's outputs, some of them changed."""
        return {
            "server_url": "https://hs.mesh.example",
            "bastion": "ops-1",
            "operators_key": self.operators_key,
            "keys": {},
            "hosts": {name: self._told(host) for name, host in self.hosts.items()},
            **changes,
        }

    def tell(self, **changes: Any) -> None:
        """Write the outputs anew."""
        self.outputs.write_text(json.dumps(self.told(**changes)))

    def _told(self, host: SshHost) -> dict[str, Any]:
        return {
            "role": ROLES[host.name],
            "cloud": "alicloud",
            "zone": "cn-beijing-h",
            "private_address": "127.0.0.1" if host.name in PRIVATE else "10.12.0.10",
            "address": "127.0.0.1",
            "host_key": host.key.export_public_key().decode().strip(),
            "port": host.port,
        }


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """Running hosts until the end of the block."""
    operator = asyncssh.generate_private_key("ssh-ed25519")
    allowed = asyncssh.import_authorized_keys(operator.export_public_key().decode())
    hosts = {name: SshHost(name, asyncssh.generate_private_key("ssh-ed25519")) for name in ROLES}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    for host in hosts.values():
        asyncio.run_coroutine_threadsafe(host.listen(allowed), loop).result(10)
    made = Fleet(hosts, folder / "outputs.json", operator.export_private_key().decode(), loop)
    made.tell()
    try:
        yield made
    finally:
        for host in hosts.values():
            loop.call_soon_threadsafe(host.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
