"""The nodes that are expected, by kind: what policy/nodes.yaml says, for a stack of some size."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mesh.access import Node, Policy

Tag = Annotated[str, Field(pattern=r"^tag:[a-z][a-z0-9-]{0,62}$")]
Group = Annotated[str, Field(pattern=r"^group:[a-z][a-z0-9-]{0,62}$")]


class NodeGroup(BaseModel):
    """Nodes that the policy treats alike: servers with the same tags, or devices of some people."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = Field(
        description="What preview calls them."
    )
    tags: tuple[Tag, ...] = Field((), description="Tags of the servers; not together with people.")
    groups: tuple[Group, ...] = Field((), description="Whose members' devices they are.")
    users: tuple[str, ...] = Field((), description="Users whose devices they are.")
    count: int = Field(
        description="How many nodes; of people's devices, how many each person has.",
        ge=1,
        le=100000,
    )
    address: ipaddress.IPv4Address | None = Field(
        default=None, description="The address of a single node that a host of the policy means."
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """So many nodes, each like this one, of the group of that name."""

    name: str
    node: Node
    count: int


def kinds(groups: Sequence[NodeGroup], policy: Policy, expected: int) -> tuple[Kind, ...]:
    """The groups in their proportions, together about `expected` nodes: each has one at least, and
    a node with an address of its own stays one. Every person's devices are a kind of their own."""
    written = [kind for group in groups for kind in _written(group, policy)]
    fixed = sum(kind.count for kind in written if kind.node.address)
    whole = sum(kind.count for kind in written) - fixed
    share = (expected - fixed) / whole if whole else 0
    return tuple(
        kind
        if kind.node.address
        else Kind(name=kind.name, node=kind.node, count=max(round(kind.count * share), 1))
        for kind in written
    )


def _written(group: NodeGroup, policy: Policy) -> Iterator[Kind]:
    if group.tags:
        server = Node(tags=frozenset(group.tags), address=group.address)
        yield Kind(name=group.name, node=server, count=group.count)
    members = {user for name in group.groups for user in policy.groups.get(name, ())}
    for user in sorted(members.union(group.users)):
        device = Node(user=user, address=group.address)
        yield Kind(name=group.name, node=device, count=group.count)
