"""Users, policy and pre-auth keys that operators keep under policy/.

`load` reads and checks the files, so that an error names file, key, value and what is allowed
before any server is asked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mesh import access, hujson, policy_rules
from mesh.fleet import NodeGroup

# Headscale's own rule for the name of a user.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Group = Annotated[str, Field(pattern=r"^group:[a-z][a-z0-9-]{0,62}$")]
Tag = Annotated[str, Field(pattern=r"^tag:[a-z][a-z0-9-]{0,62}$")]


class RegistryError(Exception):
    """Files under policy/ that cannot be used; the message lists every fault, one a line."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class User(_Frozen):
    """An owner of nodes."""

    name: Name = Field(description="Its name in the mesh.")
    display: str = Field("", description="What people read: what it is for.")
    admins: tuple[Group, ...] = Field(
        (), description="Groups of policy.hujson that answer for it (plan 3.2); none for a person."
    )


class _Lasting(_Frozen):
    """What ends by itself, and is replaced before."""

    name: Name = Field(description="What this project calls the key.")
    expiration_hours: int = Field(description="Hours until it is worthless.", ge=1, le=8760)
    rotate_before_hours: int = Field(
        0,
        description="Hours before its end from which on there is a new one; both work meanwhile.",
        ge=0,
    )
    hand_out: Literal["output", "file"] = Field(
        "output",
        description="How it leaves the mesh: with the stack's secret outputs, as often as somebody"
        " asks; or once, by `meshctl keys show NAME --file PATH`, and in no output and no state.",
    )


class ApiKey(_Lasting):
    """A key of Headscale's API, for a program: it may do everything."""


class Key(_Lasting):
    """A pre-auth key: the right to join once or many times, as a user's device or as tags."""

    user: Name | None = Field(None, description="Owner of the nodes; not together with tags.")
    tags: tuple[Tag, ...] = Field((), description="Tags of the nodes, as in policy.hujson.")
    reusable: bool = Field(False, description="Whether more than one node may join with it.")
    ephemeral: bool = Field(False, description="Whether its nodes vanish when they go offline.")


_Model = TypeVar("_Model", bound=BaseModel)


class _Users(_Frozen):
    users: tuple[User, ...]


class _Keys(_Frozen):
    keys: tuple[Key, ...]
    api_keys: tuple[ApiKey, ...] = ()


class TagPattern(_Frozen):
    """Tags of every node whose name fits, as `meshctl tag` gives them (plan 7.3)."""

    pattern: Annotated[str, Field(pattern=r"^[a-z0-9*?-]+$")] = Field(
        description="A node's name; * is any text, ? any character."
    )
    tags: tuple[Tag, ...] = Field(description="The tags, as in policy.hujson.", min_length=1)


class _Tags(_Frozen):
    tags: tuple[TagPattern, ...]


class _Nodes(_Frozen):
    nodes: Annotated[tuple[NodeGroup, ...], Field(min_length=1)]


class Registry(_Frozen):
    """What the running Headscale is brought to."""

    users: tuple[User, ...]
    policy: str
    keys: tuple[Key, ...]
    api_keys: tuple[ApiKey, ...]
    tags: tuple[TagPattern, ...]
    nodes: tuple[NodeGroup, ...]  # that are expected; the server is not told

    def to_json(self, seal: str, week: str) -> str:
        """The JSON text that `mesh-registry apply` reads; the same files and week always give the
        same text.

        `seal` is a Fernet key, a secret: with it the database keeps keys that are shown once.
        `week`, such as 2026-W48, makes the text another one once a week, so that keys that are
        due are replaced though no file has changed.
        """
        declared = self.model_dump(mode="json", exclude={"tags", "nodes"})
        members = _section(self, "groups") or {}
        groups = {name: [user.rstrip("@") for user in users] for name, users in members.items()}
        return json.dumps(
            {"seal": seal, "week": week, "groups": groups, **declared}, sort_keys=True
        )


def load(folder: Path) -> Registry:
    """The registry in users.yaml, keys.yaml, tags.yaml, nodes.yaml and policy.hujson of `folder`.

    Raises RegistryError.
    """
    users = _parse(folder / "users.yaml", _Users).users
    keys = _parse(folder / "keys.yaml", _Keys)
    registry = Registry(
        users=users,
        policy=(folder / "policy.hujson").read_text(encoding="utf-8"),
        keys=keys.keys,
        api_keys=keys.api_keys,
        tags=_parse(folder / "tags.yaml", _Tags).tags,
        nodes=_parse(folder / "nodes.yaml", _Nodes).nodes,
    )
    faults = [
        *_name_faults(registry),
        *_key_faults(registry),
        *_lifetime_faults(registry),
        *_reference_faults(registry),
        *_node_faults(registry),
        *_policy_faults(folder, registry),
    ]
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
        ("keys.yaml: api_keys", [key.name for key in registry.api_keys]),
        ("nodes.yaml: nodes", [group.name for group in registry.nodes]),
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
        if tags is not None:
            faults += _unknown(f"{where}.tags", key.tags, "tagOwners", tags)
    return faults


def _lifetime_faults(registry: Registry) -> list[str]:
    """A key that is due when it is made would be made anew each time."""
    return [
        f"keys.yaml: {kind}[{i}].rotate_before_hours: {key.rotate_before_hours} is not allowed:"
        f" must be less than expiration_hours, {key.expiration_hours}"
        for kind, keys in (("keys", registry.keys), ("api_keys", registry.api_keys))
        for i, key in enumerate(keys)
        if key.rotate_before_hours >= key.expiration_hours
    ]


def _reference_faults(registry: Registry) -> list[str]:
    """Groups and tags that the policy does not know."""
    groups, tags = _section(registry, "groups"), _section(registry, "tagOwners")
    faults = []
    if groups is not None:
        for i, user in enumerate(registry.users):
            faults += _unknown(f"users.yaml: users[{i}].admins", user.admins, "groups", groups)
    if tags is not None:
        for i, pattern in enumerate(registry.tags):
            faults += _unknown(f"tags.yaml: tags[{i}].tags", pattern.tags, "tagOwners", tags)
    return faults


def _node_faults(registry: Registry) -> list[str]:
    """Kinds of nodes that the policy does not know, or that are none."""
    groups, tags = _section(registry, "groups"), _section(registry, "tagOwners")
    users = [user.name for user in registry.users]
    faults = []
    for i, group in enumerate(registry.nodes):
        where = f"nodes.yaml: nodes[{i}]"
        people = len(group.users) + len(group.groups)
        if bool(group.tags) == bool(people):
            faults.append(f"{where}: {group.name!r} needs tags, or groups and users, and not both")
        if group.address and (group.count > 1 or group.groups or len(group.users) > 1):
            faults.append(f"{where}.address: {group.name!r} is more than one node; leave it out")
        if group.address and group.address not in access.MESH[0]:
            faults.append(f"{where}.address: {group.address} is outside the mesh, {access.MESH[0]}")
        faults += _unknown(f"{where}.users", group.users, "users.yaml", users)
        if tags is not None:
            faults += _unknown(f"{where}.tags", group.tags, "tagOwners", tags)
        if groups is not None:
            faults += _unknown(f"{where}.groups", group.groups, "groups", groups)
    return faults


def _unknown(where: str, names: Sequence[str], section: str, known: Collection[str]) -> list[str]:
    allowed = ", ".join(sorted(known))
    return [
        f"{where}: {name!r} is not in {section}; choose from {allowed}"
        for name in names
        if name not in known
    ]


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
