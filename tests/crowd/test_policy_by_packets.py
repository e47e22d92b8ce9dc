"""Covers policy/policy.hujson by packets, without a lab: real clients on this machine, one for
each role, try every connection of the table in drills/access.py, and datagrams to the port of name
servers. The booted mesh tries the same in tests/lab.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drills import access
from drills.crowd import Crowd
from tests.crowd import loopback

POLICY = Path(__file__).resolve().parents[2] / "policy/policy.hujson"
FIRST = "100.64.0.1"  # what Headscale gives to the first node


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    policy = POLICY.read_text().replace(access.JENKINS_ADDRESS, FIRST)
    with loopback.running(tmp_path_factory.mktemp("mesh")) as server:
        keys = {m.name: server.key(user=m.user, tags=",".join(m.tags)) for m in access.CAST}
        server.set_policy(policy)
        with server.crowd() as crowd:
            first = crowd.join(loopback.URL, {access.JENKINS: keys.pop(access.JENKINS)})
            assert first[access.JENKINS].address == FIRST
            crowd.join(loopback.URL, keys)
            yield crowd


@pytest.mark.slow
def test_every_connection_ends_as_the_table_says(crowd: Crowd) -> None:
    assert not access.faults(access.packets(crowd))


@pytest.mark.slow
def test_every_datagram_to_a_name_servers_port_ends_as_the_table_says(crowd: Crowd) -> None:
    assert not access.faults(access.datagrams(crowd))
