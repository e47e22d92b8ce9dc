"""What is known of the files under policy/ without asking a server.

The one module that knows how they are read: the commands see lists of lines only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mesh import registry
from meshctl.trouble import MeshctlError

T = TypeVar("T")
Reach = dict[str, dict[str, str]]  # source → destination → ports

POLICY: Final = "policy.hujson"
TAGS: Final = "tags.yaml"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Pattern(_Frozen):
    pattern: str = Field(min_length=1)
    tags: tuple[registry.Tag, ...] = Field(min_length=1)


class _Tags(_Frozen):
    tags: tuple[_Pattern, ...]


def faults(folder: Path) -> list[str]:
    """What is wrong with the files, a line each; empty when `pulumi up` would take them."""
    try:
        registry.load(folder)
        if (folder / TAGS).exists():
            tags(folder)
    except (registry.RegistryError, MeshctlError) as error:
        return str(error).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{folder}: {error}"]
    return []


def text(folder: Path) -> str:
    """The policy as it is written there. Raises MeshctlError."""
    try:
        return (folder / POLICY).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MeshctlError(f"{folder / POLICY}: {error}") from None


def tags(folder: Path) -> list[dict[str, Any]]:
    """The patterns of tags.yaml, as mesh-registry reads them. Raises MeshctlError."""
    path = folder / TAGS
    try:
        found = _Tags.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MeshctlError(f"{path}: {error}") from None
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['input']!r}: {fault['msg'].lower()}"
            for fault in error.errors()
        ]
        raise MeshctlError("\n  ".join([f"{path}:", *lines])) from None
    return [pattern.model_dump(mode="json") for pattern in found.tags]


def reach(policy: str) -> Reach:
    """What every source of a policy reaches. Raises MeshctlError."""
    made: dict[str, dict[str, list[str]]] = {}
    for source, destination, ports in sorted(_openings(policy)):
        made.setdefault(source, {}).setdefault(destination, []).append(ports)
    return {
        source: {destination: "; ".join(ports) for destination, ports in reached.items()}
        for source, reached in made.items()
    }


def difference(before: str, after: str) -> tuple[list[str], list[str]]:
    """What a change opens and what it closes, a line each. Raises MeshctlError."""
    old, new = _openings(before), _openings(after)
    return _lines(new - old), _lines(old - new)


def _lines(openings: set[tuple[str, str, str]]) -> list[str]:
    return [f"{source} → {destination}: {ports}" for source, destination, ports in sorted(openings)]


def _openings(policy: str) -> set[tuple[str, str, str]]:
    """(source, destination, what may be used), as the rules are written."""
    try:
        return set(_rules(registry.hujson(policy)))
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise MeshctlError(f"the policy cannot be read: {error}; `meshctl policy check`") from None


def _rules(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rule in value.get("acls", ()):
        for source, (name, _, ports) in _pairs(rule, lambda text: text.rpartition(":")):
            yield source, name, f"{rule.get('proto') or 'tcp+udp'} {ports}"
    for rule in value.get("grants", ()):
        for source, destination in _pairs(rule, str):
            for service in rule.get("ip", ()):
                yield source, destination, service
    for rule in value.get("ssh", ()):
        for source, destination in _pairs(rule, str):
            yield source, f"ssh {destination}", f"{rule['action']} as {', '.join(rule['users'])}"


def _pairs(rule: dict[str, Any], read: Callable[[str], T]) -> Iterator[tuple[str, T]]:
    """Every source with every destination."""
    return ((source, read(to)) for source in rule["src"] for to in rule["dst"])
