"""IPv6 at AWS, where whatever has an address in a routed range is reached by it."""

from __future__ import annotations

import pulumi

from components import clouds
from components.clouds import InstanceArgs, Ipv6
from mesh import topology


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
    """The address the instance was made with: the network's route is its way to everywhere."""
    if args.ipv6 is None:
        raise ValueError(f"host {host.name} has no IPv6 address")
    return clouds.after(args.ipv6.address, instance)
