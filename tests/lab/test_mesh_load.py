"""Covers `meshctl load` against the booted mesh, from the operator's workstation: through the
proxies, to whichever control host is active. What each part does: tests/load.
"""

from __future__ import annotations

import json

from drills import two_clients
from meshctl.load.plan import MARK
from tests import stacks
from tests.lab.mesh import Mesh

PROGRAM = stacks.REPOSITORY / "scripts/meshctl"


def test_virtual_nodes_join_settle_and_leave_nothing_behind(mesh: Mesh) -> None:
    line = [str(PROGRAM), "--stack", two_clients.STACK, "--outputs", "-"]
    line += ["load", "6", "--wave", "5", "--rest", "5", "--yes", "--json"]

    done = mesh.world.operator.run(line, stdin=json.dumps(mesh.outputs), check=False, within=600)

    assert done.status == 0, done.stderr + done.stdout
    rows = json.loads(done.stdout)
    phases = [row["phase"] for row in rows if row["phase"] != "quiet"]
    assert phases == ["wave 0", "wave 1", "policy", "newcomer", "rest"]
    active = mesh.host(two_clients.active_name(mesh.world, mesh.outputs))
    nodes = active.exec(["headscale", "nodes", "list", "-o", "json"]).stdout
    assert MARK not in nodes
