"""One region of one simulated cloud, spoken to without the engine.

The same handler serves a plugin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import cloud
from lab.provider import Target
from lab.resource import CloudError
from lab.store import Store


class RefusedError(Exception):
    """What a cloud said no to."""

    def __init__(self, property: str | None, reason: str) -> None:
        super().__init__(f"{property}: {reason}")
        self.property = property


class Region:
    """One region of one cloud: resources by a short word and a name."""

    def __init__(self, name: str, region: str, state: Path) -> None:
        self.store = Store(state)
        self.handler = cloud.handler(name, state, self.store)
        self.handler.configure({"region": region})

    def make(self, type: str, name: str, /, **inputs: Any) -> str:
        """The new resource's id; RefusedError names the first property at fault."""
        target = _target(type, name)
        settled, problems = self.handler.check(target, {}, inputs)
        if problems:
            raise RefusedError(problems[0].property, problems[0].reason)
        try:
            id, _ = self.handler.create(target, settled, partial=None)
        except CloudError as error:
            raise RefusedError(error.property, str(error)) from error
        return id

    def drop(self, type: str, name: str, id: str) -> None:
        self.handler.delete(_target(type, name), id, {})

    def output(self, type: str, id: str, key: str) -> Any:
        found = self.store.get(type.split(":")[0], type, id)
        assert found is not None
        return found.outputs[key]


def _target(type: str, name: str) -> Target:
    return Target(f"urn:pulumi:dev::trial::{type}::{name}", seed=b"seed")
