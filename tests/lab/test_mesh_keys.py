"""Covers keys on the booted mesh: one that is handed out once (`console` of policy/keys.yaml), and
the daily rotation in its sandbox.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from drills import two_clients
from drills.live import Live
from tests.lab.mesh import Mesh

KEY = "console"
SHOW = ["mesh-registry", "keys", "show", KEY, "--to", "ann@laptop"]


@pytest.fixture(scope="module")
def server(mesh: Mesh) -> Live:
    return Live(mesh.world, mesh.outputs)


@pytest.fixture
def fetched(server: Live) -> Iterator[str]:
    """The key, new, and in the hands of somebody."""
    server.registry("keys", "rotate", KEY, "--force")
    yield str(json.loads(server.host.exec(SHOW).stdout)["key"])
    server.registry("keys", "rotate", KEY, "--force")  # for others to fetch


def test_it_opens_the_api(server: Live, fetched: str) -> None:
    url = f"{server.url}/api/v1/user"
    header = f"Authorization: Bearer {fetched}\n"

    asked = server.host.exec(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "-H@-", url],
        stdin=header,
    )

    assert asked.stdout == "200"


def test_nobody_gets_it_a_second_time(server: Live, fetched: str) -> None:
    again = server.host.exec(SHOW, check=False)

    assert again.status == 1
    assert "to ann@laptop" in again.stderr
    assert fetched not in again.stdout + again.stderr


def test_no_output_and_no_state_of_the_stack_has_it(mesh: Mesh) -> None:
    shown = mesh.engine.run("stack", "export", "--stack", two_clients.STACK, "--show-secrets")

    state = shown.check().stdout
    assert KEY not in mesh.outputs["api_keys"]
    kinds = {found[1] for found in re.finditer(r"hskey-(auth|api)-[\w-]{12,}", state)}
    assert kinds == {"auth"}, "the search must see keys, but none of the API"


def test_the_daily_rotation_runs_in_its_sandbox_on_both_hosts(mesh: Mesh) -> None:
    unit, ended = "mesh-keys.service", {}
    for name in ("hs-1", "hs-2"):
        mesh.host(name).exec(["systemctl", "start", unit])
        ended[name] = mesh.host(name).exec(["systemctl", "show", "-P", "ExecMainStatus", unit])

    statuses = sorted(done.stdout.strip() for done in ended.values())
    assert statuses == ["0", "3"], "3 is said where Headscale does not run"
