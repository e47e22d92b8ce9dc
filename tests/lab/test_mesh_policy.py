"""Covers changes of the policy and of keys on the booted mesh while clients use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills import access, rotation
from drills.access import CAST
from drills.crowd import Crowd
from drills.live import Live
from lab.world.command import until
from tests.lab.mesh import Mesh

KEY = "prod-servers"  # reusable, of policy/keys.yaml
FEW = [member for member in CAST if member.role in {"ops-admin", "dev-junior", "staging", "dev"}]
JUNIOR = '"src": ["group:dev-junior"], "dst": ["tag:dev:*"'


@pytest.fixture(scope="module")
def server(mesh: Mesh) -> Live:
    return Live(mesh.world, mesh.outputs)


@pytest.fixture(scope="module")
def crowd(server: Live) -> Iterator[Crowd]:
    with server.gathered(FEW) as crowd:
        yield crowd


def test_a_rollback_restores_the_policy_and_what_packets_do(server: Live, crowd: Crowd) -> None:
    good = server.registry("policy", "show")
    wider = good["text"].replace(JUNIOR, f'{JUNIOR}, "tag:staging:*"')
    assert wider != good["text"], "the change must change something"
    before = access.outcomes(access.packets(crowd, FEW))

    server.set_policy(wider)
    try:
        opened = ("dev-laptop-dev03", "staging-app-bj-901", 22)
        access.await_connection(crowd, *opened)
    finally:
        server.registry("policy", "rollback", str(good["version"]))

    access.await_denial(crowd, *opened)
    until(
        lambda: access.outcomes(access.packets(crowd, FEW)) == before,
        within=120,  # other clients may hear of it later
        what="every row ends as before the change",
    )
    assert server.registry("policy", "show")["text"] == good["text"]


def test_no_join_fails_while_its_key_is_rotated(mesh: Mesh, server: Live) -> None:
    done = rotation.under_joins(server, mesh.device, KEY)

    assert done.replaced
    assert not done.failed
