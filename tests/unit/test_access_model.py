"""Covers that the model of access says what Headscale says: both are asked the same questions.

Headscale is asked by `tests` that expect everything to be allowed, and lists what is not.
"""

from __future__ import annotations

import itertools
import json
import re
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import policy_check
from mesh import access, artifacts, hujson
from mesh.access import Node, Policy
from mesh.artifacts import Artifact
from mesh.policy_trial import Trial
from tests import bad_policies, stacks

DENIED = re.compile(r"(\S+) -> (\S+):(\d+) \((\S+)\): expected ALLOWED, got DENIED")
DENIED_LOGIN = re.compile(r"(\S+)/(\S+) -> (\S+): expected ALLOWED, got DENIED")

GROUPS = {"group:g": ["ann@", "bob@"], "group:h": ["bob@"], "group:none": []}
HOSTS = {"one": "100.65.0.1", "office": "10.0.0.0/24"}
NAMES = ["*", "ann@", "group:g", "group:h", "group:none", "tag:a", "tag:b", "one", "office",
         "autogroup:member", "autogroup:tagged"]  # fmt: skip
RULE = st.builds(
    lambda sources, names, ports, proto: {
        "action": "accept",
        "proto": proto,
        "src": sources,
        "dst": [f"{name}:{ports if proto != 'icmp' else '*'}" for name in names],
    },
    st.lists(st.sampled_from([*NAMES, "autogroup:danger-all"]), min_size=1, max_size=2),
    st.lists(st.sampled_from([*NAMES, "autogroup:internet", "8.0.0.0/8"]), min_size=1, max_size=2),
    st.sampled_from(["22", "80,443", "1-1024", "*"]),
    st.sampled_from(["", "tcp", "17", "icmp"]),
)


@pytest.fixture(scope="module")
def headscale() -> Artifact:
    """The program that control hosts run."""
    return artifacts.load(stacks.REPOSITORY / "dist/manifest.json")["headscale"]


def asked(
    value: dict[str, Any], users: list[str], tests: dict[str, Any], headscale: Artifact
) -> list[str]:
    """What Headscale says to tests of a policy, without its headings."""
    trial = Trial.read(json.dumps(value), json.dumps(tests), users)
    lines = policy_check.answer(trial, headscale).splitlines()
    return [line for line in lines if line and not line.endswith("test(s) failed:")]


def nodes(users: list[str], tags: list[str], addresses: dict[str, str]) -> dict[str, Node]:
    """What the policy calls them → the nodes."""
    return {
        **{f"{user}@": Node(user=user) for user in users},
        **{tag: Node(tags=frozenset({tag})) for tag in tags},
        **{name: Node(address=ip_address(text)) for name, text in addresses.items()},
    }


def agree(
    value: dict[str, Any],
    sources: dict[str, Node],
    destinations: dict[str, Node],
    ports: list[int],
    headscale: Artifact,
) -> None:
    """Fails with each connection about which the two differ."""
    users = [node.user for node in (sources | destinations).values() if node.user]
    wanted = [f"{name}:{port}" for name in destinations for port in ports]
    protocols = ("tcp", "udp")
    tests = [
        {"src": name, "proto": protocol, "accept": wanted}
        for name in sources
        for protocol in protocols
    ]
    lines = asked(value, sorted(set(users)), {"tests": tests}, headscale)
    denied = {found.groups() for line in lines if (found := DENIED.fullmatch(line))}
    assert len(denied) == len(lines), f"Headscale said something else: {lines}"

    model = {
        (source, destination, str(port), protocol)
        for source, destination, port, protocol in itertools.product(
            sources, destinations, ports, protocols
        )
        if not access.allows(
            Policy(value), sources[source], destinations[destination], port, protocol
        )
    }
    assert model == denied


def test_the_model_agrees_about_every_line_of_the_committed_policy(headscale: Artifact) -> None:
    value = hujson.parse(bad_policies.committed()["policy.hujson"]).value
    people = [min(members) for members in Policy(value).groups.values()]  # one of each group
    hosts = {name: text.removesuffix("/32") for name, text in value["hosts"].items()}
    known = nodes([*people, "infra"], list(value["tagOwners"]), hosts)
    ports = [22, 53, 443, 3306, 5672, 6379, 8080, 9090]

    agree(value, known, known | nodes([], [], {"100.64.0.1": "100.64.0.1"}), ports, headscale)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(RULE, max_size=5))
def test_the_model_agrees_about_policies_that_nobody_wrote(
    headscale: Artifact, rules: list[dict[str, Any]]
) -> None:
    value = {
        "groups": GROUPS,
        "hosts": HOSTS,
        "tagOwners": {"tag:a": ["group:g"], "tag:b": ["group:g"]},
        "acls": rules,
    }
    known = nodes(["ann", "bob", "eve"], ["tag:a", "tag:b"], {"one": "100.65.0.1"})
    others = nodes([], [], {"10.0.0.7": "10.0.0.7", "8.8.8.8": "8.8.8.8"})

    agree(value, known, known | others, [22, 80, 8080], headscale)


def test_the_model_agrees_about_every_login_of_the_committed_policy(headscale: Artifact) -> None:
    value = hujson.parse(bad_policies.committed()["policy.hujson"]).value
    people = sorted(user for members in access.Policy(value).groups.values() for user in members)
    sources, servers = nodes(people, [], {}), nodes([], list(value["tagOwners"]), {})
    logins = ["root", "ubuntu", "centos", "postgres"]
    tests = [{"src": name, "dst": list(servers), "accept": logins} for name in sources]

    lines = asked(value, people, {"sshTests": tests}, headscale)

    denied = {(found[1], found[2], found[3]) for line in lines
              if (found := DENIED_LOGIN.fullmatch(line))}  # fmt: skip
    model = {
        (source, user, server)
        for source, user, server in itertools.product(sources, logins, servers)
        if access.login(Policy(value), sources[source], servers[server], user) is None
    }
    assert len(denied) == len(lines)
    assert model == denied
