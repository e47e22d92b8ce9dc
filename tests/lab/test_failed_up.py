"""Covers a `pulumi up` that cannot finish: what the operator reads, and that the next one does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills import two_clients
from lab.engine import Engine
from lab.world import services
from lab.world.world import World
from tests import stacks

UP = ("up", "--stack", two_clients.STACK, "--yes", "--skip-preview")


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own, whose package mirror is down."""
    started = two_clients.running_world(tmp_path_factory.mktemp("failed-up") / "state")
    services.stop(started.state, "mirror")
    yield started
    started.stop()


def test_up_without_packages_names_host_and_step_and_the_next_up_goes_on(world: World) -> None:
    engine = Engine(world.state.root, stacks.REPOSITORY)
    engine.ensure_stack(two_clients.STACK)

    failed = engine.run(*UP)
    services.start(world.state, "mirror")
    again = engine.run(*UP)

    assert failed.returncode != 0
    assert "command:remote:Command (derp-bj-boot)" in failed.stdout
    assert "host derp-bj: step modules-final failed" in failed.stdout
    assert "The end of /var/log/cloud-init-output.log:" in failed.stdout
    assert again.returncode == 0, again.stdout
