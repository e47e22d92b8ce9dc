"""The instance of a host, terminated behind Pulumi's back: in the console, or by its failure."""

from __future__ import annotations

from pathlib import Path

from lab import cloud
from lab.effects.core import CLOUDS, instance_of
from lab.resource import Resource
from lab.store import Store
from lab.world.errors import WorldError
from lab.world.world import World


def terminate(state: Path, host: str) -> Resource:
    """End the instance of a host, and what a cloud lets go with one: its system disk, the
    association of its address, the attachment of its volumes; not the volumes. The instance
    that was. WorldError when the host is no cloud's.
    """
    world, store = World.open(state), Store(state)
    name = world.host(host).name
    id = instance_of(world, name)
    for found in store.all():
        if found.id == id and found.type == CLOUDS[found.cloud].types.instance:
            cloud.handler(found.cloud, state, store).lose(found)
            return found
    raise WorldError(f"{host} is no cloud's instance", "python -m lab host remove removes it")
