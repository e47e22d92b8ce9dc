"""Which nodes there are, by the seed's tags and groups, and whom each of them must see."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from mesh import access

MARK: Final = "-load-"  # in every name, so that a clean-up finds them


@dataclass(frozen=True)
class Kind:
    """Nodes that join with the same key: how many of a thousand, and what they are."""

    name: str
    share: int
    tags: tuple[str, ...] = ()
    user: str = ""


def _servers(name: str, share: int, *tags: str) -> Kind:
    return Kind(name, share, tuple(f"tag:{tag}" for tag in tags))


def _person(user: str, share: int) -> Kind:
    return Kind(user, share, user=user)


# The keys of policy/keys.yaml and the people of policy/users.yaml. A fleet is mostly servers.
KINDS: Final = (
    _servers("monitoring", 2, "prod", "monitoring"),
    _person("zhangsan", 8),
    _servers("prod-web", 200, "prod", "web"),
    _servers("prod-api", 160, "prod", "api"),
    _servers("prod-k8s", 100, "prod", "k8s"),
    _servers("staging-app", 100, "staging"),
    _servers("dev-app", 100, "dev"),
    _servers("testing-app", 80, "testing"),
    _servers("prod-db", 50, "prod", "db"),
    _servers("prod-cache", 30, "prod", "cache"),
    _servers("prod-mq", 20, "prod", "mq"),
    _servers("staging-db", 15, "staging", "db"),
    _servers("dev-db", 15, "dev", "db"),
    _servers("testing-db", 10, "testing", "db"),
    _servers("testing-ci", 5, "testing", "ci"),
    _servers("prod-k8s-master", 3, "prod", "k8s", "k8s-master"),
    _servers("prod-bastion", 2, "prod", "bastion"),
    _person("dev01", 15),
    _person("dev02", 15),
    _person("dev03", 15),
    _person("dev04", 15),
    _person("wangwu", 10),
    _person("zhaoliu", 10),
    _person("lisi", 7),
    _person("qa01", 5),
    _person("qa02", 5),
    _person("dba01", 3),
)
# There always: the one takes the resolver's address on a fresh server, which everybody sees; a
# change of policy is told to everybody because the other one may reach everybody.
ALWAYS: Final = ("monitoring", "zhangsan")


@dataclass(frozen=True)
class Member:
    """One virtual node."""

    name: str
    kind: Kind


def members(count: int, kinds: Sequence[Kind] = KINDS) -> list[Member]:
    """So many nodes in the order in which they join, every kind spread over the whole."""
    counts = _counts(count, kinds)
    placed = [
        (0.0 if number == 0 and kind.name in ALWAYS else (number + 0.5) / counts[kind.name], kind)
        for kind in kinds
        for number in range(counts[kind.name])
    ]
    placed.sort(key=lambda found: found[0])  # stable: in the order of the kinds
    seen: Counter[str] = Counter()
    made = []
    for _, kind in placed:
        seen[kind.name] += 1
        made.append(member(kind, seen[kind.name]))
    return made


def member(kind: Kind, number: int) -> Member:
    """The node of that number of a kind."""
    return Member(f"{kind.name}{MARK}{number:04}", kind)


def _counts(count: int, kinds: Sequence[Kind]) -> dict[str, int]:
    """Nodes by kind: by largest remainder, those that must be there at the cost of the largest."""
    whole = sum(kind.share for kind in kinds)
    exact = {kind.name: kind.share * count / whole for kind in kinds}
    counts = {name: int(value) for name, value in exact.items()}
    rest = count - sum(counts.values())
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[:rest]:
        counts[name] += 1
    for name in ALWAYS:
        if counts.get(name) == 0:
            counts[max(counts.keys() - ALWAYS, key=lambda other: (counts[other], other))] -= 1
            counts[name] = 1
    return counts


# Whom each must see


@dataclass(frozen=True)
class Expected:
    """Nodes in classes; nodes of one class see the same classes."""

    classes: Mapping[str, str]  # by node
    sees: Mapping[str, frozenset[str]]  # by class

    def peers(self, name: str) -> int:
        """How many peers a node must see."""
        members = Counter(self.classes.values())
        own = self.classes[name]
        return sum(members[other] for other in self.sees[own]) - (own in self.sees[own])

    @property
    def total(self) -> int:
        """Peers over all nodes: what a server that starts afresh has to send."""
        return sum(map(self.peers, self.classes))


def expected(policy: access.Policy, nodes: Mapping[str, access.Node]) -> Expected:
    """Whom each of these nodes sees by a policy; nodes by their names."""
    places = _places(policy)
    keys = {name: _class(node, places) for name, node in nodes.items()}
    samples = {key: nodes[name] for name, key in keys.items()}
    sees: dict[str, set[str]] = {key: set() for key in samples}
    for (one, first), (other, second) in product(samples.items(), repeat=2):
        if access.acquainted(policy, first, second):
            sees[one].add(other)
    return Expected(keys, {key: frozenset(others) for key, others in sees.items()})


def _places(policy: access.Policy) -> list[access.Network]:
    """Networks that rules name by address or alias: there, a node's address decides."""
    names = {name for each in policy.openings for name in (each.source, each.destination)}
    found = [policy.hosts.get(name) or access.address_of(name) for name in sorted(names)]
    return [network for network in found if network is not None]


def _class(node: access.Node, places: Sequence[access.Network]) -> str:
    address = node.address
    at = [str(place) for place in places if address is not None and address in place]
    return " ".join([node.owner or "", *sorted(node.tags), *at]).strip()


def planned(wanted: Sequence[Member]) -> dict[str, access.Node]:
    """Nodes before they have addresses."""
    return {each.name: _node(each.kind.user, each.kind.tags, None) for each in wanted}


def listed(rows: Sequence[Mapping[str, object]]) -> dict[str, access.Node]:
    """Nodes as `headscale nodes list -o json` tells of them."""
    found = {}
    for row in rows:
        user, tags, addresses = row.get("user"), row.get("tags"), row["ip_addresses"]
        assert isinstance(addresses, list)
        name = str(user.get("name", "")) if isinstance(user, dict) else ""
        four = next((text for text in addresses if ":" not in text), addresses[0])
        found[str(row["given_name"])] = _node(name, tags if isinstance(tags, list) else (), four)
    return found


def _node(user: str, tags: Sequence[str], address: str | None) -> access.Node:
    return access.Node(
        user=user or None,
        tags=frozenset(tags),
        address=ipaddress.ip_address(address) if address else None,
    )
