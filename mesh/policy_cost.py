"""What a policy costs: how many peers each node is told of, and which rule is to blame.

Two nodes are peers when either may open any connection to the other. Headscale works out, sends
and keeps each of these entries, so their number is what a control host feels: docs/guides/
capacity.md. It is counted by kinds of nodes, not by nodes; that a rule may reach subnets behind a
node is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mesh import access
from mesh.access import Node, Policy
from mesh.fleet import Kind
from mesh.hujson import Path

_SELF = "autogroup:self"


@dataclass(frozen=True, kw_only=True)
class RuleCost:
    """What one rule opens: entries of peers, and those of them that no other rule opens."""

    path: Path  # of the rule in policy.hujson; empty where there is no rule, which opens all
    entries: int
    alone: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a policy costs with some nodes.

    `peers` has the least and the most peers that a node of each group sees; `rules` begins with the
    one that opens most.
    """

    nodes: int
    entries: int
    peers: Mapping[str, tuple[int, int]]
    rules: tuple[RuleCost, ...]


@dataclass(frozen=True, kw_only=True)
class _Rule:
    path: Path
    sources: tuple[str, ...]
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class _Sort:
    """What all nodes have in common that the same rules mean: a bit for each rule."""

    sources: int  # the rules of which they are a source
    destinations: int
    owner: str | None  # where a rule opens one's own devices

    def opened(self, other: _Sort, own: int) -> int:
        """The rules that open a connection between a node of each, in either direction."""
        rules = (self.sources & other.destinations) | (other.sources & self.destinations)
        if self.owner is not None and self.owner == other.owner:
            rules |= (self.sources | other.sources) & own
        return rules


def cost(policy: Policy, kinds: Sequence[Kind]) -> Cost:
    """What the policy costs with nodes of these kinds."""
    rules = tuple(_rules(policy))
    own = sum(1 << i for i, rule in enumerate(rules) if _SELF in rule.destinations)
    sorts = [_sort(policy, rules, kind.node, bool(own)) for kind in kinds]
    sizes: Counter[_Sort] = Counter()
    for sort, kind in zip(sorts, kinds, strict=True):
        sizes[sort] += kind.count
    seen = {sort: _peers(sort, sizes, own) for sort in sizes}
    return Cost(
        nodes=sum(sizes.values()),
        entries=sum(size * seen[sort] for sort, size in sizes.items()),
        peers=_ranges(kinds, [seen[sort] for sort in sorts]),
        rules=_blame(rules, sizes, own),
    )


def _rules(policy: Policy) -> Iterator[_Rule]:
    """The rules, whatever ports they open: an application of a grant makes peers, too."""
    if "acls" not in policy.value and "grants" not in policy.value:
        yield _Rule(path=(), sources=("*",), destinations=("*",))
    for i, rule in enumerate(policy.value.get("acls", ())):
        names = tuple({access.split_destination(text)[0]: None for text in rule["dst"]})
        yield _Rule(path=("acls", i), sources=tuple(rule["src"]), destinations=names)
    for i, rule in enumerate(policy.value.get("grants", ())):
        names = tuple(rule["dst"])
        yield _Rule(path=("grants", i), sources=tuple(rule["src"]), destinations=names)


def _sort(policy: Policy, rules: Sequence[_Rule], node: Node, owned: bool) -> _Sort:
    sources = destinations = 0
    for i, rule in enumerate(rules):
        if any(access.is_source(policy, name, node) for name in rule.sources):
            sources |= 1 << i
        if any(
            access.is_destination(policy, name, node, node)
            for name in rule.destinations
            if name != _SELF
        ):
            destinations |= 1 << i
    return _Sort(sources, destinations, node.owner if owned else None)


def _peers(sort: _Sort, sizes: Mapping[_Sort, int], own: int) -> int:
    """How many peers a node of that sort has; it is none of its own."""
    met = sum(size for other, size in sizes.items() if sort.opened(other, own))
    return met - bool(sort.opened(sort, own))


def _ranges(kinds: Sequence[Kind], peers: Sequence[int]) -> dict[str, tuple[int, int]]:
    made: dict[str, tuple[int, int]] = {}
    for kind, number in zip(kinds, peers, strict=True):
        least, most = made.get(kind.name, (number, number))
        made[kind.name] = (min(least, number), max(most, number))
    return made


def _blame(rules: Sequence[_Rule], sizes: Mapping[_Sort, int], own: int) -> tuple[RuleCost, ...]:
    entries, alone = Counter[int](), Counter[int]()
    for sort, size in sizes.items():
        for other, others in sizes.items():
            opened = sort.opened(other, own)
            pairs = size * (others - (sort == other))
            for i in _bits(opened):
                entries[i] += pairs
                alone[i] += pairs if opened == 1 << i else 0
    costs = (
        RuleCost(path=rule.path, entries=entries[i], alone=alone[i]) for i, rule in enumerate(rules)
    )
    return tuple(sorted(costs, key=lambda rule: (-rule.entries, -rule.alone)))


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
