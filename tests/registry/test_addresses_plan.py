"""Covers who gets which address: the plan, without any database. Doing it: test_addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.addresses import plan
from registry.addresses.plan import Move, Node, Range, Stray

IP = IPv4Address
GROUPS = {
    "group:ops-admin": frozenset({"zhangsan", "lisi"}),
    "group:ops-member": frozenset({"wangwu", "lisi"}),
}
RANGES = (
    Range("monitoring", IPv4Network("100.64.2.0/24"), tags=frozenset({"tag:monitoring"})),
    Range("prod", IPv4Network("100.65.0.0/22"), tags=frozenset({"tag:prod"})),
    Range("prod-web", IPv4Network("100.65.0.0/30"), tags=frozenset({"tag:prod", "tag:web"})),
    Range(
        "prod-ci",
        IPv4Network("100.65.1.0/29"),
        tags=frozenset({"tag:prod", "tag:ci"}),
        fixed={"jenkins": IP("100.65.1.1")},
    ),
    Range("senior", IPv4Network("100.70.1.0/24"), groups=frozenset({"group:ops-admin"})),
    Range("regular", IPv4Network("100.70.2.0/24"), groups=frozenset({"group:ops-member"})),
    Range("operators", IPv4Network("100.70.3.0/24"), users=frozenset({"ops-team", "wangwu"})),
)


def server(number: int, name: str, *tags: str, at: str | None = None) -> Node:
    own = frozenset(f"tag:{tag}" for tag in tags)
    return Node(number, name, "", own, IP(at) if at else None)


def device(number: int, name: str, user: str, at: str | None = None) -> Node:
    return Node(number, name, user, frozenset(), IP(at) if at else None)


def make(*nodes: Node, ranges: Sequence[Range] = RANGES) -> plan.Plan:
    return plan.make(nodes, ranges, GROUPS)


def claimed(node: Node) -> str | None:
    found = plan.claim(node, RANGES, GROUPS)
    return found.name if found else None


def done(nodes: Sequence[Node], planned: plan.Plan) -> list[Node]:
    """The nodes after the moves."""
    after = {move.id: move.after for move in planned.moves}
    return [replace(node, address=after.get(node.id, node.address)) for node in nodes]


def test_more_tags_go_before_fewer_and_of_equals_the_first_range_wins() -> None:
    assert claimed(server(1, "a", "prod", "web", "x")) == "prod-web"
    assert claimed(server(1, "a", "prod", "db")) == "prod"
    assert claimed(server(1, "a", "prod", "monitoring")) == "monitoring"
    assert claimed(server(1, "a", "web")) is None


def test_groups_go_before_users_and_the_first_range_before_the_next() -> None:
    assert claimed(device(1, "a", "wangwu")) == "regular"
    assert claimed(device(1, "a", "lisi")) == "senior"
    assert claimed(device(1, "a", "ops-team")) == "operators"
    assert claimed(device(1, "a", "nobody")) is None


def test_a_server_is_not_claimed_by_the_user_who_brought_it() -> None:
    assert claimed(Node(1, "a", "zhangsan", frozenset({"tag:web"}))) is None


def test_a_newcomer_gets_the_lowest_free_address_and_nobody_else_moves() -> None:
    there = device(1, "a", "zhangsan", at="100.70.1.1")

    planned = make(there, device(2, "b", "lisi", at="100.64.0.1"))

    assert planned.moves == (Move(2, "b", IP("100.64.0.1"), IP("100.70.1.2"), "senior"),)
    assert planned.strays == ()


def test_newcomers_are_served_in_order_of_their_names() -> None:
    planned = make(device(1, "z", "lisi"), device(2, "a", "lisi"))

    assert [(move.node, str(move.after)) for move in planned.moves] == [
        ("a", "100.70.1.1"),
        ("z", "100.70.1.2"),
    ]


def test_a_range_leaves_the_addresses_of_those_inside_it_alone() -> None:
    planned = make(server(1, "a", "prod", at="100.65.0.1"), server(2, "b", "prod"))

    # 100.65.0.0/30 is prod-web's.
    assert [str(move.after) for move in planned.moves] == ["100.65.0.4", "100.65.0.5"]


def test_addresses_that_look_like_a_networks_are_skipped() -> None:
    whole = Range("all", IPv4Network("100.66.0.0/23"), users=frozenset({"u"}))
    nodes = [device(number, f"n{number:03}", "u") for number in range(600)]

    planned = make(*nodes, ranges=[whole])

    given_out = {str(move.after) for move in planned.moves}
    assert len(given_out) == 512 - 3
    assert not given_out & {"100.66.0.0", "100.66.1.0", "100.66.1.255"}
    assert planned.full == {"all": tuple(f"n{number:03}" for number in range(509, 600))}


def test_two_nodes_may_swap() -> None:
    planned = make(
        device(1, "a", "ops-team", at="100.70.1.1"), device(2, "b", "lisi", at="100.70.3.1")
    )

    assert [(move.node, str(move.after)) for move in planned.moves] == [
        ("a", "100.70.3.1"),
        ("b", "100.70.1.1"),
    ]


def test_of_two_nodes_with_one_address_one_moves() -> None:
    planned = make(device(1, "a", "lisi", at="100.70.1.1"), device(2, "b", "lisi", at="100.70.1.1"))

    assert [(move.node, str(move.after)) for move in planned.moves] == [("b", "100.70.1.2")]


def test_a_fixed_address_waits_for_its_node() -> None:
    planned = make(server(1, "other", "prod", "ci"), server(2, "jenkins", "prod", "ci"))

    assert [(move.node, str(move.after)) for move in planned.moves] == [
        ("jenkins", "100.65.1.1"),
        ("other", "100.65.1.2"),
    ]
    assert str(make(server(1, "other", "prod", "ci")).moves[0].after) == "100.65.1.2"


def test_a_name_alone_earns_no_fixed_address() -> None:
    """Anybody may give a device any name; policy lets that address do more."""
    planned = make(device(1, "jenkins", "lisi"))

    assert str(planned.moves[0].after) == "100.70.1.1"


def test_a_fixed_address_that_a_stray_has_is_told() -> None:
    planned = make(
        device(1, "stranger", "nobody", at="100.65.1.1"), server(2, "jenkins", "prod", "ci")
    )

    assert planned.moves == ()
    assert planned.strays == (
        Stray("stranger", "no range claims it"),
        Stray("jenkins", "its fixed address 100.65.1.1 is taken by stranger"),
    )


def test_a_node_that_finds_no_address_keeps_its_own_from_others() -> None:
    small = Range("small", IPv4Network("100.66.0.0/30"), users=frozenset({"s"}))
    other = Range("other", IPv4Network("100.66.1.0/24"), users=frozenset({"o"}))
    nodes = [device(n, f"s{n}", "s", at=f"100.66.1.{n}") for n in (1, 2, 3)]

    planned = make(*nodes, device(9, "a", "o"), ranges=[small, other])

    assert planned.full == {"small": ("s3",)}
    assert {move.node: str(move.after) for move in planned.moves}["a"] == "100.66.1.1"


# Properties

_RANGES = [
    Range("a", IPv4Network("100.66.0.0/28"), users=frozenset({"a"})),
    Range("a-in", IPv4Network("100.66.0.4/30"), users=frozenset({"b"})),
    Range("c", IPv4Network("100.66.1.0/29"), users=frozenset({"c"}), fixed={"f": IP("100.66.1.3")}),
]
_ADDRESSES = [*_RANGES[0].cidr, *_RANGES[2].cidr, IP("100.64.0.1")]
_NODES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "nobody"]),
        st.one_of(st.none(), st.sampled_from(_ADDRESSES)),
    ),
    max_size=20,
).map(
    lambda drawn: [
        Node(number, "f" if number == 3 else f"n{number}", user, frozenset(), address)
        for number, (user, address) in enumerate(drawn)
    ]
)


@settings(max_examples=400, deadline=None)
@given(_NODES)
def test_whatever_the_nodes_the_plan_holds(nodes: list[Node]) -> None:
    planned = plan.make(nodes, _RANGES, {})
    after = done(nodes, planned)
    waiting = {name for names in planned.full.values() for name in names}
    strays = {stray.node for stray in planned.strays}

    moved = {move.id for move in planned.moves}
    for node in after:
        same = [other.id for other in after if other.address == node.address]
        if node.id in moved:
            assert same == [node.id], "nobody moves to an address that somebody has"
    for node in after:
        one = plan.claim(node, _RANGES, {})
        if one and node.name not in waiting | strays:
            assert node.address in one.cidr
            inside = node.address in _RANGES[1].cidr
            assert inside == (one.name == "a-in")
            assert (node.address == IP("100.66.1.3")) == (node.name == "f" and one.name == "c")
    assert plan.make(after, _RANGES, {}).moves == (), "the second time there is nothing to do"
    assert plan.make(reversed(nodes), _RANGES, {}) == planned, "no order of reading matters"
    for name in planned.full:
        taken = {node.address for node in after}
        one = next(one for one in _RANGES if one.name == name)
        inner = _RANGES[1].cidr if name == "a" else IPv4Network("0.0.0.0/32")
        usable = set(one.cidr.hosts()) - set(inner) - {IP("100.66.1.3")}
        assert usable <= taken, "full means full"
