"""Covers policy/policy.hujson by packets, without a lab: real clients on this machine, one for
each role, try every connection of the table in drills/access.py. The booted mesh tries the same in
tests/lab.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from drills import access
from tests.crowd import loopback

POLICY = Path(__file__).resolve().parents[2] / "policy/policy.hujson"
FIRST = "100.64.0.1"  # what Headscale gives to the first node


@pytest.mark.slow
def test_every_connection_ends_as_the_table_says(tmp_path: Path) -> None:
    policy = POLICY.read_text().replace(access.JENKINS_ADDRESS, FIRST)
    if '"tag:ci"' not in policy:
        policy = policy.replace('"tagOwners": {', '"tagOwners": {"tag:ci": ["group:ops-admin"],')
    with loopback.running(tmp_path) as server:
        keys = {m.name: server.key(user=m.user, tags=",".join(m.tags)) for m in access.CAST}
        server.set_policy(policy)
        with server.crowd() as crowd:
            first = crowd.join(loopback.URL, {access.JENKINS: keys.pop(access.JENKINS)})
            crowd.join(loopback.URL, keys)

            rows = access.packets(crowd)

    assert first[access.JENKINS].address == FIRST
    assert not access.faults(rows)
