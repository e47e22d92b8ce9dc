"""What the policy costs with the nodes that the stack expects, told at each preview."""

from __future__ import annotations

import pulumi

from mesh import access, capacity, fleet, hujson, policy_cost, policy_rules
from mesh.policy_cost import Cost, RuleCost
from mesh.registry import Registry
from mesh.settings import Settings


def told(settings: Settings, declared: Registry) -> dict[str, str]:
    """How many peers a node of each group sees, for review; warns when it is more than the control
    hosts carry."""
    document = hujson.parse(declared.policy)
    policy = access.Policy(document.value)
    kinds = fleet.kinds(declared.nodes, policy, settings.expected_nodes)
    cost = policy_cost.cost(policy, kinds)
    if text := warning(settings, cost, document):
        pulumi.log.warn(text)
    return shown(cost)


def shown(cost: Cost) -> dict[str, str]:
    """Each group with the peers of its nodes: "120", or "4 to 998" where they differ."""
    return {
        name: f"{least}" if least == most else f"{least} to {most}"
        for name, (least, most) in sorted(cost.peers.items())
    }


def carried(settings: Settings) -> int:
    """How many peers the nodes of the stack may have together."""
    return capacity.carried(
        settings.control.headscale.cpus, settings.tuning, settings.headscale_build
    )


def warning(settings: Settings, cost: Cost, document: hujson.Document) -> str:
    """What to tell of a policy that costs too much; empty for one that does not."""
    cpus, most = settings.control.headscale.cpus, carried(settings)
    if cost.entries <= most:
        return ""
    return (
        f"policy: {cost.nodes} nodes would have {cost.entries:,} peers together, and a control host"
        f" with {cpus} CPUs carries {most:,}. {_blame(cost.rules[0], cost, document)} Narrow it,"
        " or give mesh:control.headscale more cpus: docs/guides/capacity.md"
    )


def _blame(rule: RuleCost, cost: Cost, document: hujson.Document) -> str:
    where = f"policy/{policy_rules.POLICY}:{document.line(rule.path)}"
    share = round(100 * rule.entries / cost.entries)
    return (
        f"{where} costs most: it opens {rule.entries:,} ({share} %), {rule.alone:,} of them alone."
    )
