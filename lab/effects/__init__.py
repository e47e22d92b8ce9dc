"""What the simulated clouds' resources do to the world: hosts, addresses, names, objects.

Each cloud's file (alicloud, tencentcloud, aws: same names, same order) translates resources into
the world's words and does nothing itself. What is declared is always computed from everything
the cloud has, so the order in which resources come and go does not matter; only what cannot be
declared is done step by step: booting and removing hosts, disks, contents of objects.
"""

from __future__ import annotations

from pathlib import Path

from lab.resource import Effects
from lab.store import Store


def effects(state: Path, store: Store) -> Effects:
    """The effects of a running world; WorldError when none runs from that folder."""
    from lab.effects.core import WorldEffects  # a plugin imports this module before it has a use
    from lab.world.world import World

    return WorldEffects(World.open(state), store)
