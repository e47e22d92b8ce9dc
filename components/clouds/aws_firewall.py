"""Security groups of AWS, whose every rule is a resource of its own."""

from __future__ import annotations

import re

import pulumi
import pulumi_aws as aws

from components import clouds
from components.clouds import lean
from mesh import topology

lean.install(aws, "ec2", "vpc")


def firewall(
    name: str,
    environment: str,
    network_id: pulumi.Input[str],
    rules: tuple[topology.Rule, ...],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """A security group; without a rule it lets nothing out either."""
    group = aws.ec2.SecurityGroup(
        name,
        name=f"{environment}-{name}",
        description=f"{name} of {environment}",
        vpc_id=network_id,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    entries: list[pulumi.Resource] = [
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-{suffix}",
            security_group_id=group.id,
            ip_protocol=rule.protocol,
            from_port=-1 if rule.is_ping else rule.first_port,
            to_port=-1 if rule.is_ping else rule.last_port,
            cidr_ipv4=clouds.v4(source),
            cidr_ipv6=clouds.v6(source),
            description=_description(rule.why),
            opts=opts,
        )
        for suffix, rule, source in clouds.sources(rules)
    ]
    everything = _outward(name, group, clouds.has_ipv6(rules), opts)
    return clouds.after(group.id, *entries, *everything)


def _outward(
    name: str, group: aws.ec2.SecurityGroup, ipv6: bool, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    return [
        aws.vpc.SecurityGroupEgressRule(
            f"{name}{suffix}",
            security_group_id=group.id,
            ip_protocol="-1",
            cidr_ipv4=clouds.v4(every),
            cidr_ipv6=clouds.v6(every),
            description="everything",
            opts=opts,
        )
        for suffix, every in clouds.everywhere(ipv6)
    ]


def _description(text: str) -> str:
    """The text without the characters that EC2 refuses, such as the apostrophe."""
    return re.sub(r"[^a-zA-Z0-9 ._:/()#,@\[\]+=&;{}!$*-]", "", text)
