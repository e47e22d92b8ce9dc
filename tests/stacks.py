"""Stack files as tests use them: the committed ones, and copies with single values changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from mesh import settings, topology
from mesh.settings import Settings
from mesh.topology import Topology

REPOSITORY: Final = Path(__file__).parent.parent
NAMES: Final = ("prod", "staging", "lab")


def values(stack: str) -> dict[str, Any]:
    """The `mesh:` settings of a committed stack file, without their namespace."""
    text = (REPOSITORY / "stacks" / f"Pulumi.{stack}.yaml").read_text()
    config: dict[str, Any] = yaml.safe_load(text)["config"]
    return {key.removeprefix("mesh:"): value for key, value in config.items()}


def changed(stack: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The same with values replaced; "relays.0.code" walks into mappings and lists."""
    result = copy.deepcopy(values(stack))
    for path, value in changes.items():
        place: Any = result
        *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
        for part in way:
            place = place[part]
        place[last] = value
    return result


def load(stack: str, changes: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a committed stack, with changes."""
    return settings.load(changed(stack, changes or {}), f"stacks/Pulumi.{stack}.yaml")


def build(stack: str, changes: Mapping[str, Any] | None = None) -> Topology:
    """Its topology."""
    return topology.build(load(stack, changes))
