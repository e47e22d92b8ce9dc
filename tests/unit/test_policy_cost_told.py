"""Covers what preview tells of a policy's cost, and which files about expected nodes it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components import policy_cost as told
from mesh import access, fleet, hujson, policy_cost, registry
from mesh.policy_cost import Cost, RuleCost
from tests import stacks

POLICY = """{
    // Everybody reaches everything.
    "acls": [
        {"action": "accept", "src": ["*"], "dst": ["*:*"]},
    ],
}"""
CARRIED = told.carried(stacks.load("prod"))


def cost(entries: int) -> Cost:
    """Of the policy above."""
    rule = RuleCost(path=("acls", 0), entries=entries, alone=entries // 2)
    return Cost(nodes=1000, entries=entries, peers={"web": (9, 9), "laptop": (1, 7)}, rules=(rule,))


def test_a_policy_that_the_hosts_carry_is_worth_no_warning() -> None:
    assert told.warning(stacks.load("prod"), cost(CARRIED), hujson.parse(POLICY)) == ""


def test_a_policy_beyond_that_is_told_with_the_rule_that_costs_most_and_the_ways_out() -> None:
    text = told.warning(stacks.load("prod"), cost(CARRIED + 2), hujson.parse(POLICY))

    assert f"1000 nodes would have {CARRIED + 2:,} peers together" in text
    assert f"a control host with 4 CPUs carries {CARRIED:,}" in text
    opened = f"it opens {CARRIED + 2:,} (100 %), {CARRIED // 2 + 1:,} of them alone"
    assert f"policy/policy.hujson:4 costs most: {opened}" in text
    assert "mesh:control.headscale more cpus" in text


def test_review_sees_how_many_peers_a_node_of_each_group_has() -> None:
    assert told.shown(cost(8)) == {"laptop": "1 to 7", "web": "9"}


def test_the_committed_policy_is_counted_for_about_as_many_nodes_as_the_stack_expects() -> None:
    declared = registry.load(stacks.REPOSITORY / "policy")
    policy = access.Policy(hujson.parse(declared.policy).value)

    for stack in stacks.NAMES:
        expected = stacks.load(stack).expected_nodes
        found = policy_cost.cost(policy, fleet.kinds(declared.nodes, policy, expected))
        assert found.nodes == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tags: [tag:prod, tag:web]", "tags: [tag:prod, tag:wep]",
         "nodes.yaml: nodes[0].tags: 'tag:wep' is not in tagOwners; choose from"),
        ("tags: [tag:prod, tag:web], ", "",
         "nodes.yaml: nodes[0]: 'prod-web' needs tags, or groups and users, and not both"),
        ("tags: [tag:prod, tag:web]", "tags: [tag:web], users: [zhangsan]",
         "nodes.yaml: nodes[0]: 'prod-web' needs tags, or groups and users, and not both"),
        ("tags: [tag:prod, tag:web]", "users: [nobody]",
         "nodes.yaml: nodes[0].users: 'nobody' is not in users.yaml; choose from"),
        ("groups: [group:ops-admin, ", "groups: [group:ops, ",
         ".groups: 'group:ops' is not in groups; choose from"),
        ("name: prod-api", "name: prod-web",
         "nodes.yaml: nodes[1].name: 'prod-web' is taken; choose another"),
        ("count: 1, address: 100.65.100.1", "count: 2, address: 100.65.100.1",
         ".address: 'prod-bastion' is more than one node; leave it out"),
        ("address: 100.65.100.1", "address: 10.0.0.1",
         ".address: 10.0.0.1 is outside the mesh, 100.64.0.0/10"),
        ("count: 150", "count: 0", "nodes[0].count: 0 is not allowed"),
        ("count: 150", "count: 150, weight: 2", "nodes[0].weight: no such key"),
    ],
)  # fmt: skip
def test_a_kind_of_nodes_that_cannot_be_is_refused_by_name(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(stacks.REPOSITORY / "policy", folder)
    text = (folder / "nodes.yaml").read_text()
    assert old in text
    (folder / "nodes.yaml").write_text(text.replace(old, new, 1))

    with pytest.raises(registry.RegistryError) as refused:
        registry.load(folder)

    assert says in str(refused.value)
