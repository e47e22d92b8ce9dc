"""Covers what a policy costs: counts by kinds are those of single nodes, and blame falls right.

That two nodes are peers when either may open a connection is Headscale's rule; that the model of
access is Headscale's, too: test_access_model.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh import access, fleet, policy_cost
from mesh.access import Node, Policy
from mesh.fleet import Kind

GROUPS = {"group:g": ["ann@", "bob@"], "group:h": ["bob@"], "group:none": []}
HOSTS = {"one": "100.65.0.1", "some": "100.65.0.0/24"}
NAMES = ("*", "ann@", "group:g", "group:h", "group:none", "tag:a", "tag:b", "one", "some",
         "autogroup:member", "autogroup:tagged")  # fmt: skip
SOURCES = st.lists(st.sampled_from([*NAMES, "autogroup:danger-all"]), min_size=1, max_size=2)
DESTINATIONS = st.lists(
    st.sampled_from([*NAMES, "autogroup:self", "autogroup:internet"]), min_size=1, max_size=2
)
ACLS = st.builds(
    lambda src, dst: {"action": "accept", "src": src, "dst": [f"{name}:22" for name in dst]},
    SOURCES,
    DESTINATIONS,
)
GRANTS = st.builds(lambda src, dst: {"src": src, "dst": dst, "ip": ["*"]}, SOURCES, DESTINATIONS)
POLICIES = st.builds(
    lambda rules: Policy({"groups": GROUPS, "hosts": HOSTS, **rules}),
    st.fixed_dictionaries(
        {},
        optional={"acls": st.lists(ACLS, max_size=4), "grants": st.lists(GRANTS, max_size=2)},
    ),
)
ADDRESSES = st.sampled_from([None, *map(ipaddress.ip_address, ("100.65.0.1", "100.65.0.2"))])
NODES = st.one_of(
    st.builds(Node, user=st.sampled_from(["ann", "bob", "cy"]), address=ADDRESSES),
    st.builds(
        Node,
        tags=st.frozensets(st.sampled_from(["tag:a", "tag:b"]), min_size=1),
        address=ADDRESSES,
    ),
)
KINDS = st.lists(
    st.builds(Kind, name=st.sampled_from("xyz"), node=NODES, count=st.integers(1, 4)), max_size=5
)


def meet(policy: Policy, one: Node, other: Node) -> bool:
    """Whether either may open a connection: whoever may open one may also ping."""
    return any(
        access.allows(policy, source, destination, 0, "icmp")
        for source, destination in ((one, other), (other, one))
    )


def one_by_one(policy: Policy, kinds: Sequence[Kind]) -> list[tuple[str, int]]:
    """The name and the peers of every single node."""
    nodes = [(kind.name, kind.node) for kind in kinds for _ in range(kind.count)]
    return [
        (name, sum(meet(policy, node, other) for j, (_, other) in enumerate(nodes) if j != i))
        for i, (name, node) in enumerate(nodes)
    ]


def without(policy: Policy, path: tuple[str | int, ...]) -> Policy:
    """The policy without one of its rules."""
    section, number = str(path[0]), path[1]
    left = [rule for i, rule in enumerate(policy.value[section]) if i != number]
    return Policy({**policy.value, section: left})


def only(policy: Policy, path: tuple[str | int, ...]) -> Policy:
    """The policy with no other rule."""
    section, number = str(path[0]), int(path[1])
    bare = {key: value for key, value in policy.value.items() if key not in ("acls", "grants")}
    return Policy({**bare, section: [policy.value[section][number]]})


@settings(max_examples=300, deadline=None)
@given(policy=POLICIES, kinds=KINDS)
def test_peers_counted_by_kinds_are_those_of_every_single_node(
    policy: Policy, kinds: list[Kind]
) -> None:
    found = policy_cost.cost(policy, kinds)

    nodes = one_by_one(policy, kinds)
    assert found.nodes == len(nodes)
    assert found.entries == sum(peers for _, peers in nodes)
    for name, (least, most) in found.peers.items():
        numbers = [peers for other, peers in nodes if other == name]
        assert (least, most) == (min(numbers), max(numbers)), name


@settings(max_examples=100, deadline=None)
@given(policy=POLICIES, kinds=KINDS)
def test_what_a_rule_costs_is_what_it_opens_and_what_would_go_with_it(
    policy: Policy, kinds: list[Kind]
) -> None:
    found = policy_cost.cost(policy, kinds)

    for rule in found.rules:
        if rule.path:
            opened = sum(peers for _, peers in one_by_one(only(policy, rule.path), kinds))
            rest = sum(peers for _, peers in one_by_one(without(policy, rule.path), kinds))
            assert (rule.entries, found.entries - rule.alone) == (opened, rest)


def policy(*acls: tuple[str, str], **rest: Any) -> Policy:
    """A policy of rules with one source and one destination each."""
    rules = [{"action": "accept", "src": [src], "dst": [f"{dst}:*"]} for src, dst in acls]
    return Policy({"groups": GROUPS, "acls": rules, **rest})


def servers(**counts: int) -> list[Kind]:
    """So many servers with each tag."""
    return [
        Kind(name=name, node=Node(tags=frozenset({f"tag:{name}"})), count=count)
        for name, count in counts.items()
    ]


def test_both_ends_of_a_rule_see_each_other_and_not_themselves() -> None:
    found = policy_cost.cost(policy(("tag:a", "tag:b")), servers(a=10, b=3, c=100))

    assert found.peers == {"a": (3, 3), "b": (10, 10), "c": (0, 0)}
    assert found.entries == 2 * 10 * 3


def test_the_rule_that_opens_most_comes_first() -> None:
    found = policy_cost.cost(
        policy(("tag:a", "tag:b"), ("tag:a", "tag:a"), ("tag:a", "*")), servers(a=10, b=3)
    )

    assert [rule.path for rule in found.rules] == [("acls", 2), ("acls", 1), ("acls", 0)]
    assert found.rules[0].entries == 10 * 9 + 2 * 10 * 3
    assert found.rules[0].alone == 0, "the two others open the same"


def test_without_any_rule_every_node_sees_every_other() -> None:
    found = policy_cost.cost(Policy({}), servers(a=30))

    assert found.peers == {"a": (29, 29)}
    assert found.rules == (policy_cost.RuleCost(path=(), entries=870, alone=870),)


def test_a_grant_for_an_application_makes_peers_as_well() -> None:
    grant = {"src": ["tag:a"], "dst": ["tag:b"], "app": {"example.com/cap": [{}]}}

    found = policy_cost.cost(Policy({"grants": [grant]}), servers(a=2, b=2))

    assert found.entries == 8


def test_a_hundred_people_and_a_thousand_servers_are_a_few_sorts_of_nodes() -> None:
    people = [f"user{number}@" for number in range(100)]
    kinds = servers(a=500, b=500) + [
        Kind(name="people", node=Node(user=name.removesuffix("@")), count=2) for name in people
    ]
    groups = {"group:all": people, "group:some": people[:10]}

    found = policy_cost.cost(
        policy(("group:all", "tag:a"), ("group:some", "tag:b"), groups=groups), kinds
    )

    assert found.peers == {"a": (200, 200), "b": (20, 20), "people": (500, 1000)}


def group(name: str, count: int, **what: Any) -> fleet.NodeGroup:
    return fleet.NodeGroup.model_validate({"name": name, "count": count, **what})


def counts(kinds: Sequence[Kind]) -> Mapping[tuple[str, str | None], int]:
    return {(kind.name, kind.node.user): kind.count for kind in kinds}


def test_groups_grow_and_shrink_with_the_stack_and_keep_one_node_at_least() -> None:
    groups = [
        group("web", 800, tags=["tag:a"]),
        group("one", 1, tags=["tag:b"]),
        group("laptop", 10, groups=["group:g"]),
    ]
    sound = policy(("*", "*"))

    assert counts(fleet.kinds(groups, sound, 1642)) == {
        ("web", None): 1600, ("one", None): 2, ("laptop", "ann"): 20, ("laptop", "bob"): 20
    }  # fmt: skip
    assert counts(fleet.kinds(groups, sound, 82)) == {
        ("web", None): 80, ("one", None): 1, ("laptop", "ann"): 1, ("laptop", "bob"): 1
    }  # fmt: skip


def test_a_node_with_an_address_of_its_own_stays_one() -> None:
    groups = [
        group("web", 9, tags=["tag:a"]),
        group("bastion", 1, tags=["tag:b"], address="100.65.0.1"),
    ]

    kinds = fleet.kinds(groups, policy(("*", "*")), 901)

    assert counts(kinds) == {("web", None): 900, ("bastion", None): 1}
    assert kinds[1].node.address == ipaddress.ip_address("100.65.0.1")
