"""The mesh of stack lab, brought up once a session by the real program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from drills import two_clients
from drills.client import Client
from lab.engine import Engine
from lab.world.host import Host
from lab.world.world import World
from tests import stacks


@dataclass(frozen=True)
class Mesh:
    """The mesh of stack lab and two clients on it."""

    world: World
    engine: Engine
    outputs: dict[str, Any]
    server: Client
    device: Client

    def host(self, name: str) -> Host:
        """A host of the topology by its name there."""
        return self.world.host(self.outputs["hosts"][name]["instance"])

    @property
    def hosts(self) -> dict[str, Host]:
        """Every host of the topology."""
        return {name: self.host(name) for name in self.outputs["hosts"]}


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The mesh, up. Its state is in the test's own folder."""
    state = tmp_path_factory.mktemp("mesh") / "state"
    world = two_clients.running_world(state)
    try:
        engine = Engine(state, stacks.REPOSITORY)
        engine.ensure_stack(two_clients.STACK)
        engine.run("up", "--stack", two_clients.STACK, "--yes", "--skip-preview").check()
        outputs = engine.stack_outputs(two_clients.STACK, show_secrets=True)
        server, device = two_clients.join_two(world, outputs)
        yield Mesh(world, engine, outputs, server, device)
    finally:
        world.stop()  # fails when a process, namespace, mount or file is left
