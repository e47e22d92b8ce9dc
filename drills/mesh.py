"""The mesh under drill: its hosts by their names in the topology, and who is what right now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills.client import Client
from lab.world.host import Host
from lab.world.world import World


@dataclass(frozen=True)
class Mesh:
    """The booted stack and the clients on it."""

    world: World
    outputs: dict[str, Any]
    clients: tuple[Client, ...]

    def host(self, name: str) -> Host:
        """A host of the topology by its name there, such as hs-1."""
        return self.world.host(self.outputs["hosts"][name]["instance"])

    def names(self, *roles: str) -> tuple[str, ...]:
        """The hosts of some roles: control, database, ops, relay."""
        hosts = self.outputs["hosts"]
        return tuple(name for role in roles for name in hosts if hosts[name]["role"] == role)

    @property
    def controls(self) -> tuple[str, ...]:
        """The hosts that can run Headscale."""
        return self.names("control")

    @property
    def databases(self) -> tuple[str, ...]:
        """The hosts of PostgreSQL."""
        return self.names("database")

    @property
    def voters(self) -> tuple[str, ...]:
        """The members of etcd."""
        return self.names("database", "ops")

    @property
    def entries(self) -> dict[str, str]:
        """The control hosts by the addresses of their entries."""
        return {self.public(name): name for name in self.controls}

    def public(self, name: str) -> str:
        """The address at which the world reaches a host."""
        return str(self.outputs["hosts"][name]["address"])

    def private(self, name: str) -> str:
        """The address at which its neighbours reach a host."""
        return str(self.outputs["hosts"][name]["private_address"])

    def zone_partner(self, control: str) -> str:
        """The database host in a control host's zone."""
        hosts = self.outputs["hosts"]
        zone = hosts[control]["zone"]
        return next(name for name in self.databases if hosts[name]["zone"] == zone)

    def file(self, name: str, path: str) -> str:
        """As `read`."""
        return read(self.host(name), path)

    def guard(self, name: str) -> dict[str, Any]:
        """As `guard_status`."""
        return guard_status(self.host(name))

    def arbiter(self) -> dict[str, Any]:
        """What the arbiter last said of itself; nothing where there is none, or its host has no
        power.
        """
        said = [self.file(name, "/run/mesh-arbiter/status.json") for name in self.names("ops")]
        return next((json.loads(line) for line in said if line), {})

    def has_arbiter(self) -> bool:
        """Whether the stack has it on. Its host must have power."""
        ask = ["systemctl", "is-active", "mesh-arbiter.service"]
        return any(self.host(o).exec(ask, check=False).status == 0 for o in self.names("ops"))

    @property
    def server_url(self) -> str:
        """What clients are told."""
        return str(self.outputs["server_url"])

    @property
    def server_name(self) -> str:
        """The server's name in its certificate."""
        return self.server_url.removeprefix("https://")


def guard_status(host: Host) -> dict[str, Any]:
    """What the guard of a control host last said of itself; nothing when it never did, or the
    host has no power.
    """
    said = read(host, "/run/mesh-guard/status.json")
    status: dict[str, Any] = json.loads(said) if said else {}
    return status


def read(host: Host, path: str) -> str:
    """The text of a file in a running host, without a program there being started; empty when
    there is none, or no power.
    """
    leader = host.leader()
    try:
        return Path(f"/proc/{leader}/root{path}").read_text() if leader else ""
    except OSError:
        return ""
