"""Covers a first boot that fails: what the operator reads, and that the next try goes on."""

from __future__ import annotations

from collections.abc import Iterator

import asyncssh
import pytest

from lab.world import services
from lab.world.host import Host, HostSpec
from lab.world.world import World
from mesh import userdata
from tests import stacks


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own, whose package mirror is down."""
    started = World.start(tmp_path_factory.mktemp("first-boot") / "state")
    services.stop(started.state, "mirror")
    yield started
    started.stop()


def boot_relay(world: World) -> Host:
    """derp-bj of stack lab, from its own user-data."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = key.export_public_key().decode().strip()
    user_data = userdata.render(
        stacks.load("lab"),
        stacks.build("lab").host("derp-bj"),
        authorized_key=public,
        bootstrap_host_key=key.export_private_key().decode(),
        bootstrap_host_public_key=public,
    )
    return world.add_host(HostSpec(name="derp-bj", user_data=user_data.encode()), public=True)


def test_a_first_boot_without_packages_names_host_and_step_and_the_next_try_goes_on(
    world: World,
) -> None:
    host = boot_relay(world)

    failed = host.exec(["mesh-boot"], check=False, within=300)
    services.start(world.state, "mirror")
    mended = host.exec(["mesh-boot"], check=False, within=300)

    assert failed.status == 1
    assert "host derp-bj: step modules-final failed" in failed.stderr
    assert "The end of /var/log/cloud-init-output.log:" in failed.stderr
    assert mended.status == 0, mended.stderr
    assert mended.stdout.startswith("ssh-ed25519 "), "the new host key, as after a good boot"
    assert host.exec(["systemctl", "is-active", "fail2ban"]).stdout.strip() == "active"
