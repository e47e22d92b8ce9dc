"""Covers who reaches what on the booted mesh, by packets and by Tailscale SSH.

One client for each role of plan 7.2; the table of what is allowed is in drills/access.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills import access, live
from drills.access import CAST, Member, Row
from drills.crowd import PORTS, Crowd
from drills.live import Live
from mesh import access as model
from mesh import hujson
from tests.lab.mesh import Mesh

POLICY = Path(__file__).resolve().parents[2] / "policy/policy.hujson"


@pytest.fixture(scope="module")
def crowd(mesh: Mesh) -> Iterator[Crowd]:
    with live.placed_cast(Live(mesh.world, mesh.outputs)) as crowd:
        yield crowd


@pytest.fixture(scope="module")
def rows(crowd: Crowd) -> list[Row]:
    return access.packets(crowd)


def test_every_allowed_connection_is_made_and_no_other(rows: list[Row]) -> None:
    pairs = len(CAST) * (len(CAST) - 1)

    assert len(rows) == pairs * len(PORTS), "every source, destination and port was tried"
    assert not access.faults(rows)


def test_every_datagram_to_a_name_servers_port_ends_as_the_table_says(crowd: Crowd) -> None:
    assert not access.faults(access.datagrams(crowd))


def test_the_table_has_rows_of_each_kind(rows: list[Row]) -> None:
    kinds = {(row.allowed, row.done.outcome) for row in rows}

    assert {(True, "connected"), (False, "dropped")} <= kinds


def test_the_model_of_the_policy_says_what_the_packets_did(rows: list[Row]) -> None:
    policy = model.Policy(hujson.parse(POLICY.read_text()).value)
    where = {row.target.name: row.done.address for row in rows}

    wrong = [
        f"{row.source.role} → {row.target.role}:{row.done.port}"
        for row in rows
        if model.allows(
            policy, _node(row.source, where), _node(row.target, where), row.done.port, "tcp"
        )
        != (row.done.outcome == "connected")
    ]

    assert not wrong


def test_tailscale_ssh_lets_in_whom_the_policy_names_and_no_other(crowd: Crowd) -> None:
    assert not access.faults(access.logins(crowd))


def _node(member: Member, where: dict[str, str]) -> model.Node:
    return model.Node(
        user=member.user or None,
        tags=frozenset(member.tags),
        address=ipaddress.ip_address(where[member.name]),
    )
