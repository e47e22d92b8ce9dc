"""What is wrong with an access policy, as far as it can be told without Headscale.

Every fault at once, each with its line. What only Headscale finds (its tests, rare combinations)
is found by `components.policy_check`, which asks the real program.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mesh import access, hujson, policy_shape
from mesh.access import Node, Policy
from mesh.hujson import Document, Path
from mesh.policy_shape import Found, suggestion
from mesh.ports import Ports

POLICY: Final = "policy.hujson"
TESTS: Final = "tests.hujson"
ADMINS: Final = "group:ops-admin"  # unless tests.hujson says another under "admins"
SSH_PORT: Final = 22

_SOURCES: Final = ("autogroup:member", "autogroup:tagged", "autogroup:danger-all")
_DESTINATIONS: Final = (
    "autogroup:internet", "autogroup:member", "autogroup:tagged", "autogroup:self"
)  # fmt: skip
_SSH_SOURCES: Final = ("autogroup:member", "autogroup:tagged")
_SSH_DESTINATIONS: Final = (*_SSH_SOURCES, "autogroup:self")


@dataclass(frozen=True, order=True)
class Fault:
    """One fault: which file under policy/, what is wrong and what to write.

    `line` is 0 where Headscale does not tell enough to find it.
    """

    file: str
    line: int
    text: str
    warning: bool = False  # allowed, but worth a second look

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Files:
    """A policy and its tests as they were read, and the users that exist."""

    policy: Document
    tests: Document
    users: frozenset[str]

    @property
    def tree(self) -> dict[str, Any]:
        """The policy's value."""
        tree: dict[str, Any] = self.policy.value
        return tree

    @cached_property
    def model(self) -> Policy:
        """What the policy opens; only where every name and port is sound."""
        return Policy(self.tree)

    def names(self, section: str) -> Iterable[str]:
        """The names that a section declares."""
        return tuple(self.tree.get(section, {}))


def faults(policy: str, tests: str, users: Iterable[str]) -> list[Fault]:
    """All faults of the two texts, and warnings; `users` are the names in users.yaml."""
    read: dict[str, Document] = {}
    found: list[Fault] = []
    shapes = ((POLICY, policy, policy_shape.POLICY), (TESTS, tests, policy_shape.TESTS))
    for file, text, shape in shapes:
        try:
            read[file] = hujson.parse(text)
        except hujson.HujsonError as error:
            found.append(Fault(file, error.line, f"not HuJSON: {error.reason}"))
            continue
        found += _told(file, read[file], _repeated(read[file]))
        found += _told(file, read[file], policy_shape.faults(read[file].value, shape))
    if found:
        return sorted(found)  # the other rules need both files whole
    files = Files(policy=read[POLICY], tests=read[TESTS], users=frozenset(users))
    for rule in _RULES:
        found += _told(POLICY, files.policy, rule(files))
    if not found:
        found += _told(POLICY, files.policy, _locked_out(files))
        found += _told(POLICY, files.policy, _worth_a_look(files), warning=True)
    return sorted(set(found))


def _told(
    file: str, document: Document, found: Iterable[Found], *, warning: bool = False
) -> list[Fault]:
    return [Fault(file, document.line(path), text, warning) for path, text in found]


def _repeated(document: Document) -> Iterator[Found]:
    for path, line in document.repeated.items():
        yield path, f'"{path[-1]}" is written twice, first on line {line}; keep one'


# Names


def _groups(files: Files) -> Iterator[Found]:
    for name, members in files.tree.get("groups", {}).items():
        if not name.startswith("group:"):
            yield ("groups", name), f'"{name}" is no group; write group:{name}'
        for i, member in enumerate(members):
            path: Path = ("groups", name, i)
            if member.startswith("group:"):
                yield path, f"{member} is a group, and groups hold users only; list its members"
            else:
                yield from _user(files, path, member)


def _tag_owners(files: Files) -> Iterator[Found]:
    for tag, owners in files.tree.get("tagOwners", {}).items():
        if not (tag.startswith("tag:") and tag[4:5].isalpha()):
            yield ("tagOwners", tag), f'"{tag}" is no tag; write tag: and a name, a letter first'
        if not owners:
            yield ("tagOwners", tag), f"{tag} has no owner; name a group that may give it"
        for i, owner in enumerate(owners):
            path: Path = ("tagOwners", tag, i)
            if owner.startswith(("group:", "tag:")):
                yield from _declared(files, path, owner)
            else:
                yield from _user(files, path, owner)


def _user(files: Files, path: Path, name: str) -> Iterator[Found]:
    bare = name.removeprefix("user:").removesuffix("@")
    if name.startswith("user:") or "@" not in name:
        yield path, f"{name!r} is no user; write {bare}@"
    if bare not in files.users:
        near = suggestion(f"{bare}@", [f"{user}@" for user in files.users])
        near = near if near.startswith("write") else "add it there"
        yield path, f"{bare + '@'!r} is not in users.yaml; {near}"


def _declared(files: Files, path: Path, name: str) -> Iterator[Found]:
    """A tag, group or host alias has to be in its section."""
    kinds = {"tag:": ("tag", "tagOwners"), "group:": ("group", "groups")}
    prefix = name[: name.find(":") + 1]
    kind, section = kinds.get(prefix, ("host", "hosts"))
    if name in files.names(section):
        return
    if kind == "host" and name in files.users:
        yield path, f"{name!r} is a user; write {name}@"
    else:
        near = suggestion(name, files.names(section))
        yield path, f"{kind} {name!r} is not in {section}; {near}"


def _alias(files: Files, path: Path, name: str, autogroups: Iterable[str]) -> Iterator[Found]:
    """A source or destination of a rule."""
    if name == "*":
        return
    if name.startswith("autogroup:"):
        if name not in autogroups:
            yield path, f"{name!r} is not allowed here; {suggestion(name, autogroups)}"
    elif name.startswith("user:") or "@" in name:
        yield from _user(files, path, name)
    elif name.startswith(("tag:", "group:")) or (
        not _looks_like_address(name) and ":" not in name and "/" not in name
    ):
        yield from _declared(files, path, name)
    else:
        yield from _address(path, name)


def _looks_like_address(name: str) -> bool:
    return not set(name) - set("0123456789./")


def _address(path: Path, text: str) -> Iterator[Found]:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        network = access.address_of(text)
        remedy = "write an address or a network" if network is None else f"write {network}"
        yield path, f"{text!r} is neither an address nor a network; {remedy}"


def _hosts(files: Files) -> Iterator[Found]:
    for name, text in files.tree.get("hosts", {}).items():
        path: Path = ("hosts", name)
        if ":" in name or "@" in name:
            yield path, f'"{name}" is no host alias; leave out : and @'
        wrong = list(_address(path, text))
        yield from wrong
        network = ipaddress.ip_network("::/128") if wrong else ipaddress.ip_network(text)
        if wrong or network.num_addresses > 1:  # a network stands for a subnet behind a node
            continue
        if not any(network.network_address in mesh for mesh in access.MESH):
            yield (
                path,
                (
                    f"{text} is outside the mesh ({access.MESH[0]}); "
                    "write the node's mesh address, or a network if a subnet is meant"
                ),
            )


# Rules


def _acls(files: Files) -> Iterator[Found]:
    for i, rule in enumerate(files.tree.get("acls", ())):
        path: Path = ("acls", i)
        if rule["action"] != "accept":
            yield (*path, "action"), f"{rule['action']!r} is no action; write accept"
        yield from _ends(files, path, rule["src"])
        for j, text in enumerate(rule["dst"]):
            yield from _destination(files, (*path, "dst", j), text)


def _grants(files: Files) -> Iterator[Found]:
    for i, rule in enumerate(files.tree.get("grants", ())):
        path: Path = ("grants", i)
        yield from _ends(files, path, rule["src"])
        for j, name in enumerate(rule["dst"]):
            yield from _alias(files, (*path, "dst", j), name, _DESTINATIONS)
        for j, text in enumerate(rule.get("ip", ())):
            yield from _ports((*path, "ip", j), text.rpartition(":")[2])
        if not rule.get("ip") and not rule.get("app"):
            yield path, "the grant opens nothing; write what it opens as ip or app"


def _ends(files: Files, path: Path, names: list[str]) -> Iterator[Found]:
    for i, name in enumerate(names):
        yield from _alias(files, (*path, "src", i), name, _SOURCES)


def _destination(files: Files, path: Path, text: str) -> Iterator[Found]:
    name, ports = access.split_destination(text)
    if name in ("", "tag", "group", "autogroup", "user") or "@" in ports:
        yield path, f"{text!r} has no port; write {text}:PORT or {text}:*"
        return
    yield from _alias(files, path, name, _DESTINATIONS)
    yield from _ports(path, ports)


def _ports(path: Path, text: str) -> Iterator[Found]:
    try:
        Ports.parse(text)
    except ValueError as error:
        yield path, f"{text!r}: {error}; write ports like 22, 80,443 or 8000-8100, or *"


def _ssh(files: Files) -> Iterator[Found]:
    for i, rule in enumerate(files.tree.get("ssh", ())):
        path: Path = ("ssh", i)
        if rule["action"] not in ("accept", "check"):
            yield (*path, "action"), f"{rule['action']!r} is no action; write accept or check"
        for j, name in enumerate(rule["src"]):
            yield from _ssh_end(files, (*path, "src", j), name, _SSH_SOURCES)
        for j, name in enumerate(rule["dst"]):
            yield from _ssh_end(files, (*path, "dst", j), name, _SSH_DESTINATIONS)
        for j, user in enumerate(rule["users"]):
            if user in ("*", ""):
                yield (*path, "users", j), f"{user!r} is no user to log in as; name each user"


def _ssh_end(files: Files, path: Path, name: str, autogroups: Iterable[str]) -> Iterator[Found]:
    side = "destination" if path[2] == "dst" else "source"
    instead = "write a tag, autogroup:tagged or autogroup:self"
    if side == "source":
        instead = "write a group, a user or a tag"
    if name == "*":
        yield path, f"'*' is no SSH {side}; {instead}"
    elif side == "destination" and name.startswith("group:"):
        yield path, f"{name!r} is a group, and no SSH destination; {instead}"
    elif name in files.names("hosts") or access.address_of(name):
        yield path, f"{name!r} is a host, and no SSH {side}; {instead}"
    else:
        yield from _alias(files, path, name, autogroups)


def _node_attrs(files: Files) -> Iterator[Found]:
    for i, rule in enumerate(files.tree.get("nodeAttrs", ())):
        for j, name in enumerate(rule["target"]):
            yield from _alias(files, ("nodeAttrs", i, "target", j), name, _SSH_SOURCES)


_RULES: Final[tuple[Callable[[Files], Iterator[Found]], ...]] = (
    _groups,
    _tag_owners,
    _hosts,
    _acls,
    _grants,
    _ssh,
    _node_attrs,
)


# What a sound policy may still do


def _locked_out(files: Files) -> Iterator[Found]:
    """Administrators must be able to reach every server, or nobody could repair the rest."""
    group = files.tests.value.get("admins", ADMINS)
    members = sorted(files.model.groups.get(group, ()))
    if not members:
        where: Path = ("groups", group) if group in files.names("groups") else ("groups",)
        yield where, f"{group} has no member, so no administrator would reach anything"
        return
    for tag in files.names("tagOwners"):
        server = Node(tags=frozenset({tag}))
        if not any(
            access.allows(files.model, Node(user=member), server, SSH_PORT, "tcp")
            for member in members
        ):
            yield (
                ("tagOwners", tag),
                (
                    f"locks administrators out: nobody in {group} would reach port {SSH_PORT} "
                    f"of {tag}; open {tag}:{SSH_PORT} to {group}"
                ),
            )


def _worth_a_look(files: Files) -> Iterator[Found]:
    for i, rule in enumerate(files.tree.get("acls", ())):
        for j, text in enumerate(rule["dst"]):
            if "*" in rule["src"] and text.startswith("*:"):
                yield ("acls", i, "dst", j), f"opens every node to every node: * → {text}"
    if "acls" not in files.tree and "grants" not in files.tree:
        yield (), "opens every node to every node: there are neither acls nor grants"
    for name, members in files.tree.get("groups", {}).items():
        if not members:
            yield ("groups", name), f"{name} has no member; its rules open nothing"
