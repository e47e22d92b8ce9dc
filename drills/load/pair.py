"""The pair of control hosts of a booted lab, and a machine there for the virtual nodes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drills import client, two_clients
from drills.mesh import Mesh
from lab.world import cgroup
from lab.world.host import Host, HostSpec
from lab.world.world import World
from meshctl.load import server

HOST: Final = "load"  # the machine's name in the lab
_DELETE_WITHIN: Final = 600.0  # s for all nodes


@dataclass(frozen=True)
class Pair:
    """The server of a mesh, on whichever control host is active."""

    mesh: Mesh

    @property
    def url(self) -> str:
        return self.mesh.server_url

    def headscale(self, *words: str, stdin: str = "") -> str:
        line = ["headscale", *words]
        return self._active().exec(line, stdin=stdin, within=300).stdout

    def delete_nodes(self, ids: Sequence[str]) -> None:
        self._active().exec(["sh", "-c", server.DELETE_ALL, "sh", *ids], within=_DELETE_WITHIN)

    def pids(self) -> list[int]:
        """The servers' processes, on either host."""
        groups = [self.mesh.host(name).group for name in self.mesh.controls]
        return [pid for group in groups for pid in cgroup.pids(group) if _serves(pid)]

    def kill(self) -> float:
        """Kill the one that serves, as `kill -9`; the time of the kill (monotonic)."""
        group = self._active().group
        (pid,) = [pid for pid in cgroup.pids(group) if _serves(pid)]
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return at

    def _active(self) -> Host:
        return self.mesh.host(two_clients.active_name(self.mesh.world, self.mesh.outputs))


def _serves(pid: int) -> bool:
    """Whether a process is a Headscale server."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False  # it ended meanwhile
    return words[0].rpartition(b"/")[2] == b"headscale" and b"serve" in words


def machine(world: World) -> Host:
    """The machine of the virtual nodes, booted when it is not there yet."""
    there = HOST in {host.name for host in world.hosts()}
    spec = HostSpec(name=HOST, user_data=b"#cloud-config\n")
    host = world.host(HOST) if there else world.add_host(spec, public=True)
    host.start()
    client.install(host, "mesh-load")
    return host


def line(host: Host, niceness: int) -> Sequence[str]:
    """What runs the tool there, behind everything else of this machine."""
    return host.exec_line(["nice", "-n", str(niceness), "/usr/local/bin/mesh-load"])
