"""Covers a `pulumi up` that cannot finish: what the operator reads, and that the next one does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from drills import two_clients
from lab.engine import Engine
from lab.world import services
from lab.world.command import until
from lab.world.world import World
from tests import stacks

UP = ("up", "--stack", two_clients.STACK, "--yes", "--skip-preview")
RELAY = "lab-derp-sg"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own, so that a half-made mesh is nobody else's."""
    started = two_clients.running_world(tmp_path_factory.mktemp("failed-up") / "state")
    yield started
    started.stop()


@pytest.fixture
def engine(world: World) -> Engine:
    made = Engine(world.state.root, stacks.REPOSITORY)
    made.ensure_stack(two_clients.STACK)
    return made


def cut_power_while_booting(world: World, name: str) -> None:
    """Kills a host that is being made as soon as its console shows the system's start."""

    def boots() -> bool:
        return any(host.name == name and "systemd" in host.last_lines() for host in world.hosts())

    until(boots, within=120, what=f"first lines of {name}", poll=0.05)
    world.host(name).power_off()


def test_up_with_a_host_that_dies_at_boot_shows_its_console_and_the_next_up_goes_on(
    world: World, engine: Engine
) -> None:
    fault = threading.Thread(target=cut_power_while_booting, args=(world, RELAY))
    fault.start()
    failed = engine.run(*UP)
    fault.join()
    again = engine.run(*UP)

    assert failed.returncode != 0
    assert f"the host {RELAY} died while starting" in failed.stdout
    assert "aws:ec2:Instance (derp-sg)" in failed.stdout
    assert "systemd" in failed.stdout.split("died while starting")[1], "its console"
    assert again.returncode == 0, again.stdout


def test_up_without_packages_names_host_and_step_and_the_next_up_goes_on(
    world: World, engine: Engine
) -> None:
    services.stop(world.state, "mirror")
    failed = engine.run(*UP)
    services.start(world.state, "mirror")
    again = engine.run(*UP)

    assert failed.returncode != 0
    assert "command:remote:Command (derp-bj-boot)" in failed.stdout
    assert "host derp-bj: step modules-final failed" in failed.stdout
    assert "The end of /var/log/cloud-init-output.log:" in failed.stdout
    assert again.returncode == 0, again.stdout
