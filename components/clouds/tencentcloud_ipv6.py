"""IPv6 at Tencent Cloud, whose every part is a resource of its own."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import tencentcloud_iac_pulumi as tencentcloud

from components import clouds
from components.clouds import InstanceArgs, Ipv6, lean
from mesh import topology

lean.install(tencentcloud, "vpc", "enis", "eni", "classic")


def ranges(
    name: str,
    vpc: tencentcloud.vpc.Instance,
    made: Mapping[str, tencentcloud.subnet.Instance],
    opts: pulumi.ResourceOptions,
) -> dict[str, pulumi.Output[str]]:
    """A range of public addresses for the network, and one of it for each subnet."""
    whole = tencentcloud.vpc.Ipv6CidrBlock(name, vpc_id=vpc.id, address_type="GUA", opts=opts)
    part = whole.ipv6_cidr_block.apply(topology.ipv6_subnet)
    found = {}
    for subnet, instance in made.items():
        block = tencentcloud.vpc.Ipv6SubnetCidrBlock(
            f"{name}-{subnet}",
            vpc_id=vpc.id,
            ipv6_subnet_cidr_blocks=tencentcloud.vpc.Ipv6SubnetCidrBlockIpv6SubnetCidrBlocksArgs(
                subnet_id=instance.id, ipv6_cidr_block=part
            ),
            opts=opts,
        )
        found[subnet] = clouds.after(part, block)
    return found


def address(
    name: str,
    environment: str,
    subnet_id: pulumi.Input[str],
    subnet_range: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> Ipv6:
    """An address chosen by its place in the range: nothing is to be reserved for one instance."""
    return clouds.by_place(subnet_range)


def public(
    name: str,
    environment: str,
    instance: pulumi.CustomResource,
    host: topology.Host,
    args: InstanceArgs,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """The address on the instance's own interface, and bandwidth for it. The instance itself takes
    only a number of addresses, of the cloud's choice, and only at its birth.
    """
    if args.ipv6 is None:
        raise ValueError(f"host {host.name} has no IPv6 address")
    found = tencentcloud.enis.get_instance_output(instance_id=instance.id, opts=clouds.lookup(opts))
    assigned = tencentcloud.eni.Ipv6Address(
        name,
        network_interface_id=found.enis.apply(
            lambda enis: next(eni.id for eni in enis if eni.primary)
        ),
        ipv6_addresses=[tencentcloud.eni.Ipv6AddressIpv6AddressArgs(address=args.ipv6.address)],
        opts=opts,
    )
    bandwidth = tencentcloud.classic.ElasticPublicIpv6(
        name,
        ip6_address=clouds.after(args.ipv6.address, assigned),
        internet_max_bandwidth_out=host.bandwidth_mbps,
        internet_charge_type="TRAFFIC_POSTPAID_BY_HOUR",
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    return clouds.after(args.ipv6.address, bandwidth)
