"""Users, policy and pre-auth keys that operators keep under policy/.

`load` reads and checks the files, so that an error names file, key, value and what is allowed
before any server is asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mesh import hujson, policy_rules

# Headscale's own rule for the name of a user.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Tag = Annotated[str, Field(pattern=r"^tag:[a-z][a-z0-9-]{0,62}$")]


class RegistryError(Exception):
    """Files under policy/ that cannot be used; the message lists every fault, one a line."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class User(_Frozen):
    """An owner of nodes."""

    name: Name = Field(description="Its name in the mesh.")
    display: str = Field("", description="What people read.")


class Key(_Frozen):
    """A pre-auth key: the right to join once or many times, as a user's device or as tags."""

    name: Name = Field(description="What this project calls the key.")
    user: Name | None = Field(None, description="Owner of the nodes; not together with tags.")
    tags: tuple[Tag, ...] = Field((), description="Tags of the nodes, as in policy.hujson.")
    reusable: bool = Field(False, description="Whether more than one node may join with it.")
    ephemeral: bool = Field(False, description="Whether its nodes vanish when they go offline.")
    expiration_hours: int = Field(description="Hours until nobody may join.", ge=1, le=8760)


_Model = TypeVar("_Model", bound=BaseModel)


class _Users(_Frozen):
    users: tuple[User, ...]


class _Keys(_Frozen):
    keys: tuple[Key, ...]


class Registry(_Frozen):
    """What the running Headscale is brought to."""

    users: tuple[User, ...]
    policy: str
    keys: tuple[Key, ...]

    def to_json(self, seal: str) -> str:
        """The JSON text that mesh-registry reads; the same files always give the same text.

        `seal` is a Fernet key, a secret: with it the database keeps keys that are shown once.
        """
        return json.dumps({"seal": seal, **self.model_dump(mode="json")}, sort_keys=True)


def load(folder: Path) -> Registry:
    """The registry in users.yaml, keys.yaml and policy.hujson of `folder`.

    Raises RegistryError.
    """
    users = _parse(folder / "users.yaml", _Users).users
    keys = _parse(folder / "keys.yaml", _Keys).keys
    text = (folder / "policy.hujson").read_text(encoding="utf-8")
    registry = Registry(users=users, policy=text, keys=keys)
    faults = [*_name_faults(registry), *_key_faults(registry), *_policy_faults(folder, registry)]
    if faults:
        raise RegistryError("\n  ".join([f"{folder}: {_count(faults)}", *faults]))
    return registry


def _parse(path: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise RegistryError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        lines = [_line(fault) for fault in error.errors()]
    raise RegistryError("\n  ".join([f"{path}: {_count(lines)}", *lines]))


def _line(fault: Any) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{key.lstrip('.')}: missing"
    if fault["type"] == "extra_forbidden":
        return f"{key.lstrip('.')}: no such key; remove it or correct its spelling"
    return f"{key.lstrip('.')}: {fault['input']!r} is not allowed: {fault['msg'].lower()}"


def _count(faults: list[str]) -> str:
    return f"{len(faults)} error{'' if len(faults) == 1 else 's'}"


def _name_faults(registry: Registry) -> list[str]:
    faults = []
    for file, names in (
        ("users.yaml: users", [user.name for user in registry.users]),
        ("keys.yaml: keys", [key.name for key in registry.keys]),
    ):
        for i, name in enumerate(names):
            if name in names[:i]:
                faults.append(f"{file}[{i}].name: {name!r} is taken; choose another")
    return faults


def _key_faults(registry: Registry) -> list[str]:
    """Headscale accepts a key with a tag that no policy knows, and its nodes then fail."""
    users = {user.name for user in registry.users}
    tags = _section(registry, "tagOwners")
    faults = []
    for i, key in enumerate(registry.keys):
        where = f"keys.yaml: keys[{i}]"
        if bool(key.user) == bool(key.tags):
            faults.append(f"{where}: {key.name!r} needs either a user or tags, and not both")
        if key.user and key.user not in users:
            faults.append(f"{where}.user: {key.user!r} is not in users.yaml; add it there")
        for tag in key.tags:
            if tags is not None and tag not in tags:
                known = ", ".join(sorted(tags))
                faults.append(f"{where}.tags: {tag!r} is not in tagOwners; choose from {known}")
    return faults


def _policy_faults(folder: Path, registry: Registry) -> list[str]:
    """What `mesh.policy_rules` finds, but for warnings; each names its file and line."""
    tests = (folder / policy_rules.TESTS).read_text(encoding="utf-8")
    users = [user.name for user in registry.users]
    found = policy_rules.faults(registry.policy, tests, users)
    return [f"{folder}/{fault}" for fault in found if not fault.warning]


def _section(registry: Registry, name: str) -> dict[str, Any] | None:
    """A section of the policy, or None when the text cannot be read."""
    try:
        section = hujson.parse(registry.policy).value[name]
    except (hujson.HujsonError, LookupError, TypeError):
        return None
    return section if isinstance(section, dict) else None
