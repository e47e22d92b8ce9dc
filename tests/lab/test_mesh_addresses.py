"""Covers addresses of the plan given to real nodes of the booted mesh, and taken back."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest

from drills import live
from drills.access import CAST
from drills.crowd import Crowd
from drills.live import Live
from tests.lab.mesh import Mesh

RANGES = {  # of plan 3.1, by role
    "ops-admin": "100.70.1.0/24",
    "ops-member": "100.70.2.0/24",
    "web": "100.65.1.0/24",
    "db": "100.65.3.0/24",
    "bastion": "100.65.100.0/24",
    "monitoring": "100.64.2.0/24",
    "jenkins": "100.67.100.0/24",
}
ROLES = [member for member in CAST if member.role in RANGES]


@pytest.fixture(scope="module")
def server(mesh: Mesh) -> Live:
    return Live(mesh.world, mesh.outputs)


@pytest.fixture
def crowd(server: Live) -> Iterator[Crowd]:
    """New nodes, where Headscale put them."""
    with server.gathered(ROLES) as crowd:
        yield crowd


def test_a_plan_changes_nothing(server: Live, crowd: Crowd) -> None:
    before = server.addresses()

    server.registry("addresses", "plan")

    assert server.addresses() == before


def test_nodes_get_addresses_of_their_ranges_and_their_clients_follow(
    server: Live, crowd: Crowd
) -> None:
    moves = live.planned(server, crowd)

    done = live.follow(server, crowd, ["apply"], moves)

    misplaced = {
        member.name: done.moved.get(member.name)
        for member in ROLES
        if not _inside(crowd.addresses()[member.name], RANGES[member.role])
    }
    assert not misplaced
    assert None not in done.ping_after.values(), done.ping_after


def test_the_nightly_run_does_the_same_in_its_sandbox(server: Live, crowd: Crowd) -> None:
    moves = live.planned(server, crowd)

    server.host.exec(["systemctl", "start", "mesh-addresses.service"], within=300)

    now = server.addresses()
    assert moves and {name: now[name] for name in moves} == moves
    server.await_addresses(crowd)


def test_a_second_apply_moves_nobody(server: Live, crowd: Crowd) -> None:
    server.registry("addresses", "apply")
    before = server.addresses()

    again = server.registry("addresses", "apply")

    assert again["moved"] == 0
    assert server.addresses() == before


def test_undo_gives_every_node_its_old_address_back(server: Live, crowd: Crowd) -> None:
    before = server.addresses()
    applied = server.registry("addresses", "apply")
    assert applied["moved"] >= len(ROLES)
    assert server.addresses() != before

    server.registry("addresses", "undo", applied["undo"])

    assert server.addresses() == before
    server.await_addresses(crowd)


def _inside(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
