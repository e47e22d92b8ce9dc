"""Who gets which address. Pure: nodes, ranges and groups in, moves out; the same for the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Final

_EACH: Final = (
    256  # an address that ends in .0 looks like a network's to people and to old software
)


@dataclass(frozen=True)
class Node:
    """One node as the database has it. A server has tags; a device has a user and none."""

    id: int
    name: str
    user: str = ""
    tags: frozenset[str] = frozenset()
    address: IPv4Address | None = None


@dataclass(frozen=True)
class Range:
    """A part of the plan. Ranges that lie inside it have their addresses for themselves."""

    name: str
    cidr: IPv4Network
    tags: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    fixed: Mapping[str, IPv4Address] = field(default_factory=dict)  # by the name of a node


@dataclass(frozen=True)
class Move:
    """One node's address before and after; `range` is the one that claims it."""

    id: int
    node: str
    before: IPv4Address | None
    after: IPv4Address
    range: str


@dataclass(frozen=True)
class Stray:
    """A node that stays where it is, and why."""

    node: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What would be done; `full` has the nodes that wait for an address, by range."""

    moves: tuple[Move, ...]
    strays: tuple[Stray, ...]
    full: Mapping[str, tuple[str, ...]]


def make(
    nodes: Iterable[Node], ranges: Sequence[Range], groups: Mapping[str, frozenset[str]]
) -> Plan:
    """The plan for all nodes. `groups` has the users of each group of the policy.

    A node that has an address of its range keeps it. The others get the lowest free one, in order
    of their names. No two nodes have one address afterwards, unless they stay strays.
    """
    return _Planning(sorted(nodes, key=lambda node: (node.name, node.id)), ranges, groups).plan()


def claim(
    node: Node, ranges: Sequence[Range], groups: Mapping[str, frozenset[str]]
) -> Range | None:
    """The range that a node belongs to. More tags go before fewer, groups before users, and then
    the order of the ranges counts."""
    if node.tags:
        fitting = [one for one in ranges if one.tags and one.tags <= node.tags]
        return max(fitting, key=lambda one: len(one.tags), default=None)  # the first of the best
    for one in ranges:
        if any(node.user in groups.get(group, ()) for group in one.groups):
            return one
    return next((one for one in ranges if node.user in one.users), None)


class _Planning:
    """One plan in the making."""

    def __init__(
        self,
        nodes: Sequence[Node],
        ranges: Sequence[Range],
        groups: Mapping[str, frozenset[str]],
    ) -> None:
        self._nodes = nodes
        self._reserved = {address for one in ranges for address in one.fixed.values()}
        self._inside = {
            one.name: [
                other.cidr
                for other in ranges
                if other.name != one.name and other.cidr.subnet_of(one.cidr)
            ]
            for one in ranges
        }
        self._claims = {node.id: claim(node, ranges, groups) for node in nodes}

    def plan(self) -> Plan:
        settled = self._settled()
        movers = [node for node in self._nodes if self._claims[node.id] and node.id not in settled]
        # Whoever finds no address keeps the old one, which nobody else may get then. That takes
        # an address away from others, perhaps: until it changes nothing any more.
        staying = {node.id for node in self._nodes if self._claims[node.id] is None}
        while True:
            found = self._assign(movers, settled | staying)
            left = {node.id for node in movers if node.id not in found} - staying
            if not left:
                return self._told(movers, found)
            staying |= left

    def _settled(self) -> set[int]:
        """Nodes that are where they belong. Of two at one address the first one is."""
        taken: set[IPv4Address] = set()
        settled = set()
        for node in self._nodes:
            one, address = self._claims[node.id], node.address
            if one is None or address is None or address in taken:
                continue
            wanted = one.fixed.get(node.name)
            if address == wanted if wanted else self._is_own(one, address):
                taken.add(address)
                settled.add(node.id)
        return settled

    def _is_own(self, one: Range, address: IPv4Address) -> bool:
        """Whether a node of the range may have the address."""
        return (
            address in one.cidr
            and address not in (one.cidr.network_address, one.cidr.broadcast_address)
            and int(address) % _EACH != 0
            and address not in self._reserved
            and not any(address in other for other in self._inside[one.name])
        )

    def _assign(self, movers: Sequence[Node], staying: set[int]) -> dict[int, IPv4Address]:
        """New addresses by node, for those that find one."""
        taken = {node.address for node in self._nodes if node.id in staying}
        free: dict[str, Iterator[IPv4Address]] = {}
        found = {}
        for node in movers:
            one = self._claims[node.id]
            if one is None or node.id in staying:
                continue
            wanted = one.fixed.get(node.name)
            if one.name not in free:
                free[one.name] = self._free(one, taken)
            address = wanted if wanted else next(free[one.name], None)
            if address is not None and address not in taken:
                found[node.id] = address
                taken.add(address)
        return found

    def _free(self, one: Range, taken: set[IPv4Address | None]) -> Iterator[IPv4Address]:
        """Free addresses of a range, the lowest first; `taken` may grow meanwhile."""
        inside = sorted(self._inside[one.name])
        number = int(one.cidr.network_address)
        while number <= int(one.cidr.broadcast_address):
            address = IPv4Address(number)
            other = next((other for other in inside if address in other), None)
            if other is not None:
                number = int(other.broadcast_address) + 1
                continue
            if address not in taken and self._is_own(one, address):
                yield address
            number += 1

    def _told(self, movers: Sequence[Node], found: Mapping[int, IPv4Address]) -> Plan:
        holders = {node.address: node.name for node in self._nodes}
        strays = [
            Stray(node.name, "no range claims it")
            for node in self._nodes
            if self._claims[node.id] is None
        ]
        moves: list[Move] = []
        full: dict[str, list[str]] = {}
        for node in movers:
            one = self._claims[node.id]
            assert one is not None, "movers are claimed"
            if node.id in found:
                moves.append(Move(node.id, node.name, node.address, found[node.id], one.name))
            elif node.name in one.fixed:
                wanted = one.fixed[node.name]
                by = holders.get(wanted, "another node of its name")
                strays.append(Stray(node.name, f"its fixed address {wanted} is taken by {by}"))
            else:
                full.setdefault(one.name, []).append(node.name)
        return Plan(
            tuple(moves),
            tuple(strays),
            {name: tuple(waiting) for name, waiting in full.items()},
        )
