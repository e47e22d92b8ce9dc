"""Covers the loss of one host of each pair: `pulumi up` alone brings both back into service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drills import two_clients
from lab.terminate import terminate
from lab.world.command import until
from tests.lab.mesh import Mesh

REBUILT_WITHIN = 120  # s after `pulumi up`; the standby may still be copying


def members(mesh: Mesh, name: str) -> list[dict[str, Any]]:
    """Patroni's members as a database host sees them."""
    line = "curl --silent --cacert /etc/mesh/tls/ca.crt https://$(hostname):8008/cluster"
    found: list[dict[str, Any]] = json.loads(
        mesh.host(name).exec(["sh", "-c", line]).stdout or "{}"
    ).get("members", [])
    return found


def primary(mesh: Mesh) -> str:
    """The database host that writes."""
    (leader,) = [m["name"] for m in members(mesh, "pg-1") if m["role"] == "leader"]
    return str(leader)


def other(name: str) -> str:
    """The other host of a pair."""
    return f"{name[:-1]}{3 - int(name[-1])}"


@pytest.fixture(scope="module")
def lost(mesh: Mesh) -> tuple[str, str]:
    """The active control host and the primary, terminated and built anew; their names."""
    gone = two_clients.active_name(mesh.world, mesh.outputs), primary(mesh)
    for name in gone:
        terminate(mesh.world.state.root, mesh.outputs["hosts"][name]["instance"])
    again = mesh.engine.run("up", "--stack", two_clients.STACK, "--yes", "--refresh")
    assert again.returncode == 0, again.stdout
    return gone


def test_the_database_member_is_the_standby_in_step(mesh: Mesh, lost: tuple[str, str]) -> None:
    _, database = lost
    roles: dict[str, str] = {}

    def in_step() -> bool:
        roles.update({m["name"]: m["role"] for m in members(mesh, other(database))})
        return roles.get(database) == "sync_standby"

    until(in_step, within=REBUILT_WITHIN, what=f"{database} in step", seen=lambda: str(roles))
    assert roles[other(database)] == "leader"


def test_its_vote_counts_again(mesh: Mesh, lost: tuple[str, str]) -> None:
    _, database = lost
    ask = ["mesh-etcdctl", "endpoint", "health", "--write-out=json"]
    healthy = mesh.host(database).exec(ask)

    assert [voter["health"] for voter in json.loads(healthy.stdout)] == [True] * 3


def test_the_control_host_stands_by_and_can_take_over(mesh: Mesh, lost: tuple[str, str]) -> None:
    control, _ = lost
    assert two_clients.active_name(mesh.world, mesh.outputs) == other(control)

    mesh.host(other(control)).exec(["systemctl", "stop", "mesh-guard"])
    try:
        assert two_clients.active_name(mesh.world, mesh.outputs) == control
    finally:
        mesh.host(other(control)).exec(["systemctl", "start", "mesh-guard"])


def test_clients_still_reach_each_other(mesh: Mesh, lost: tuple[str, str]) -> None:
    assert "pong" in mesh.device.ping(mesh.server, ["--c=20"])


def test_the_next_up_changes_nothing(mesh: Mesh, lost: tuple[str, str]) -> None:
    again = mesh.engine.run("up", "--stack", two_clients.STACK, "--yes", "--expect-no-changes")

    assert again.returncode == 0, again.stdout
