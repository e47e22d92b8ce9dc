"""One private network in one region, with its subnets and its ways to the internet."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import clouds
from mesh import topology


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What a network is made from."""

    spec: topology.Network
    environment: str


class Network(pulumi.ComponentResource):
    """A VPC with a subnet for each of the plan's, and a NAT gateway if some are private.

    Produces: the network's id, the ids of its subnets by name, and their IPv6 ranges, if any.
    """

    network_id: pulumi.Output[str]
    subnets: dict[str, pulumi.Output[str]]
    ipv6: dict[str, pulumi.Output[str]]

    def __init__(
        self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:network:Network", name, None, opts)
        made = clouds.of(args.spec.cloud).network(
            name, args.environment, args.spec, pulumi.ResourceOptions(parent=self)
        )
        self.network_id = made.network
        self.subnets = dict(made.subnets)
        self.ipv6 = dict(made.ipv6)
        self.register_outputs({"networkId": self.network_id, "subnets": self.subnets})
