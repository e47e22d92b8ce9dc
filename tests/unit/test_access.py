"""Covers the model of what a policy opens: its words, its differences, its properties.

That the model is right is held against Headscale in test_access_model.py, and against real
clients in the lab.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import access, hujson
from mesh.access import Node, Policy
from mesh.ports import Ports
from tests import bad_policies

SEED = Policy(hujson.parse(bad_policies.committed()["policy.hujson"]).value)
GROUPS = {"group:g": ["ann@", "bob@"], "group:h": ["bob@"]}

RULE = st.builds(
    lambda sources, names, ports, proto: {
        "action": "accept",
        "proto": proto,
        "src": sources,
        "dst": [f"{name}:{ports if proto != 'icmp' else '*'}" for name in names],
    },
    st.lists(st.sampled_from(["*", "ann@", "group:g", "group:h", "tag:a"]), min_size=1),
    st.lists(st.sampled_from(["*", "tag:a", "tag:b", "ann@"]), min_size=1),
    st.sampled_from(["22", "80,443", "1-1024", "20-30,443", "*"]),
    st.sampled_from(["", "tcp", "17", "icmp"]),
)
POLICIES = st.lists(RULE, max_size=4).map(lambda rules: Policy({"groups": GROUPS, "acls": rules}))
NODES = st.sampled_from(
    [Node(user="ann"), Node(user="bob"), Node(tags=frozenset({"tag:a"})),
     Node(tags=frozenset({"tag:a", "tag:b"}))]
)  # fmt: skip
PORTS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))
).map(Ports.of)


def policy(*rules: dict[str, Any], **sections: Any) -> Policy:
    return Policy({"groups": GROUPS, "acls": list(rules), **sections})


def acl(source: str, destination: str, **more: str) -> dict[str, Any]:
    return {"action": "accept", "src": [source], "dst": [destination], **more}


# Ports


@given(PORTS, PORTS)
def test_ports_are_sets(one: Ports, other: Ports) -> None:
    every = set(range(60))
    first, second = ({port for port in every if port in ports} for ports in (one, other))

    assert {port for port in every if port in one | other} == first | second
    assert {port for port in every if port in one.without(other)} == first - second
    assert (one == other) == (first == second)


# What is reached


def test_reach_says_what_each_rule_opens() -> None:
    opened = access.reach(SEED)

    assert opened["group:dba"] == {
        "tag:bastion": "tcp+udp 22",
        "tag:db": "tcp+udp 3306,5432,6379,27017",
    }
    assert opened["dba01@"] == opened["group:dba"], "a user has what its group has"
    assert opened["group:ops-admin"] == {
        "*": "tcp+udp *",
        "ssh autogroup:tagged": "as centos, root, ubuntu",
    }


def test_protocols_and_logins_are_told_apart() -> None:
    rules = [acl("tag:a", "tag:b:22"), acl("tag:a", "tag:b:53", proto="17"),
             acl("tag:a", "tag:b:*", proto="icmp")]  # fmt: skip
    login = {"src": ["tag:a"], "dst": ["tag:b"], "users": ["root"]}
    ssh = [{**login, "action": "accept"}, {**login, "action": "check", "users": ["db"]}]

    assert access.reach(policy(*rules, ssh=ssh))["tag:a"] == {
        "tag:b": "icmp *; tcp 22; udp 22,53",
        "ssh tag:b": "as root; after a check as db",
    }


def test_grants_count_like_acls() -> None:
    grant = {"src": ["tag:a"], "dst": ["tag:b"], "ip": ["tcp:443", "22"]}

    assert access.reach(policy(grants=[grant]))["tag:a"] == {"tag:b": "tcp 22,443; udp 22"}


def test_a_policy_without_rules_opens_everything_as_headscale_has_it() -> None:
    assert access.reach(Policy({})) == {"*": {"*": "tcp+udp *"}}


@given(POLICIES)
def test_reach_does_not_depend_on_the_order_of_rules(made: Policy) -> None:
    turned = Policy({**made.value, "acls": made.value["acls"][::-1]})

    assert list(access.reach(made).items()) == list(access.reach(turned).items())


# Differences


def test_a_difference_says_only_the_ports_that_change() -> None:
    before = policy(acl("group:g", "tag:a:22,80"))
    after = policy(acl("group:g", "tag:a:80,443"))

    assert access.difference(before, after) == (
        ("group:g → tag:a: tcp+udp 443",),
        ("group:g → tag:a: tcp+udp 22",),
    )


def test_a_new_member_of_a_group_shows() -> None:
    before = Policy({"groups": {"group:h": []}, "acls": [acl("group:h", "tag:a:22")]})
    after = Policy({"groups": {"group:h": ["bob@"]}, "acls": [acl("group:h", "tag:a:22")]})

    assert access.difference(before, after) == (("bob@ → tag:a: tcp+udp 22",), ())


def test_a_closed_login_shows() -> None:
    ssh = {"action": "accept", "src": ["group:g"], "dst": ["tag:a"], "users": ["root", "db"]}

    assert access.difference(
        policy(ssh=[ssh]), policy(ssh=[{**ssh, "users": ["db"]}])
    ) == ((), ("group:g → ssh tag:a: as root",))  # fmt: skip


@given(POLICIES, POLICIES)
def test_nothing_changes_exactly_where_reach_stays(before: Policy, after: Policy) -> None:
    opened, closed = access.difference(before, after)

    assert (not opened and not closed) == (access.reach(before) == access.reach(after))
    assert access.difference(after, before) == (closed, opened)


@given(POLICIES, POLICIES, NODES, NODES, st.sampled_from([22, 25, 443, 8080]))
def test_a_connection_that_becomes_allowed_was_told(
    before: Policy, after: Policy, source: Node, destination: Node, port: int
) -> None:
    was = access.allows(before, source, destination, port, "tcp")
    now = access.allows(after, source, destination, port, "tcp")

    opened, closed = access.difference(before, after)
    assert was or not now or opened
    assert now or not was or closed


# Single connections


@pytest.mark.parametrize(
    ("source", "destination", "port", "protocol", "allowed"),
    [
        (Node(user="zhangsan"), Node(tags=frozenset({"tag:prod"})), 22, "tcp", True),
        (Node(user="wangwu"), Node(tags=frozenset({"tag:prod"})), 22, "tcp", False),
        (Node(user="wangwu"), Node(tags=frozenset({"tag:prod", "tag:bastion"})), 22, "tcp", True),
        (Node(user="dba01"), Node(tags=frozenset({"tag:prod", "tag:db"})), 5432, "tcp", True),
        (Node(user="dba01"), Node(tags=frozenset({"tag:db"})), 22, "tcp", False),
        (Node(user="dba01"), Node(tags=frozenset({"tag:db"})), 0, "icmp", True),
        (Node(user="dev03"), Node(tags=frozenset({"tag:prod"})), 0, "icmp", False),
        (Node(user="dba01"), Node(tags=frozenset({"tag:db"})), 5432, "sctp", False),
        (Node(user="zhangsan", tags=frozenset({"tag:web"})), Node(user="lisi"), 22, "tcp", False),
        (Node(user="qa01"), Node(tags=frozenset({"tag:dns"})), 53, "udp", True),
        (Node(user="qa01"), Node(tags=frozenset({"tag:dns"})), 22, "tcp", False),
        (Node(user="qa01"), Node(address=ip_address("100.64.0.1")), 53, "udp", False),
        (Node(tags=frozenset({"tag:web"}), address=ip_address("100.67.100.1")),
         Node(tags=frozenset({"tag:testing"})), 8080, "tcp", True),
    ],
)  # fmt: skip
def test_who_connects_under_the_committed_policy(
    source: Node, destination: Node, port: int, protocol: str, allowed: bool
) -> None:
    assert access.allows(SEED, source, destination, port, protocol) is allowed


def test_a_user_reaches_its_own_devices_by_self_only() -> None:
    made = policy(acl("autogroup:member", "autogroup:self:22"))

    assert access.allows(made, Node(user="ann"), Node(user="ann"), 22, "tcp")
    assert not access.allows(made, Node(user="ann"), Node(user="bob"), 22, "tcp")
    tagged = Node(user="ann", tags=frozenset({"tag:a"}))
    assert not access.allows(made, Node(user="ann"), tagged, 22, "tcp")


def test_a_login_needs_its_rule() -> None:
    server = Node(tags=frozenset({"tag:staging"}))

    assert access.login(SEED, Node(user="zhangsan"), server, "root") == "accept"
    assert access.login(SEED, Node(user="wangwu"), server, "ubuntu") == "accept"
    assert access.login(SEED, Node(user="wangwu"), server, "root") is None
    assert access.login(SEED, Node(user="zhangsan"), Node(user="lisi"), "root") is None


def test_a_check_comes_before_what_is_accepted() -> None:
    rule = {"src": ["ann@"], "dst": ["tag:a"], "users": ["autogroup:nonroot"]}
    made = policy(ssh=[{**rule, "action": "accept"}, {**rule, "action": "check"}])
    server = Node(tags=frozenset({"tag:a"}))

    assert access.login(made, Node(user="ann"), server, "db") == "check"
    assert access.login(made, Node(user="ann"), server, "root") is None
