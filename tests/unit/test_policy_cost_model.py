"""Covers that peers counted by kinds are the peers that Headscale itself works out.

Needs Headscale from dist/ (make artifacts).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mesh import access, fleet, hujson, policy_cost, registry
from tests import stacks
from tests.headscale_alone import Alone

PEERS = re.compile(r"- Node \d+ \((\d+)\): (\d+) peers")
NODES = 120  # the release works out 7,000 pairs in some seconds

DECLARED = registry.load(stacks.REPOSITORY / "policy")
OWN: dict[str, Any] = {
    "acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}],
    "grants": [
        {"src": ["tag:web"], "dst": ["tag:db"], "app": {"example.com/cap": [{}]}},
        {"src": ["group:qa"], "dst": ["autogroup:tagged"], "ip": ["tcp:443"]},
    ],
}
COMMITTED = hujson.parse(DECLARED.policy).value
NAMES = {key: COMMITTED[key] for key in ("groups", "tagOwners", "hosts")}


@pytest.mark.parametrize(
    "value", [COMMITTED, {**NAMES, **OWN}, NAMES], ids=["committed", "own devices", "no rule"]
)
def test_headscale_works_out_as_many_peers_as_were_counted(
    value: dict[str, Any], tmp_path: Path
) -> None:
    policy = access.Policy(value)
    kinds = fleet.kinds(DECLARED.nodes, policy, NODES)
    counted = policy_cost.cost(policy, kinds)
    names = [kind.name for kind in kinds for _ in range(kind.count)]
    server = Alone(tmp_path)
    server.fill(json.dumps(value), [kind.node for kind in kinds for _ in range(kind.count)])

    with server.serving():
        told = server.ask("/debug/nodestore")

    found = dict.fromkeys(range(1, len(names) + 1), 0)
    found |= {int(number): int(peers) for number, peers in PEERS.findall(told)}
    assert f"Total Nodes: {counted.nodes}" in told
    assert sum(found.values()) == counted.entries
    for name, (least, most) in counted.peers.items():
        own = [found[i] for i, other in enumerate(names, 1) if other == name]
        assert (min(own), max(own)) == (least, most), name
