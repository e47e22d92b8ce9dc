"""The public names of the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components import clouds
from mesh import catalogue, topology
from mesh.settings import Dns


@dataclass(frozen=True, kw_only=True)
class RecordsArgs:
    """The names to publish, and the public address of each host they lead to; `ipv6` has the IPv6
    addresses of those that have one."""

    records: tuple[topology.Record, ...]
    environment: str
    dns: Dns
    addresses: Mapping[str, pulumi.Input[str]]
    ipv6: Mapping[str, pulumi.Input[str]]


class Records(pulumi.ComponentResource):
    """A and AAAA records, at whichever service holds their zone.

    `credential` has the variables by which lego may prove that the zone is ours; it is secret.

    Produces: the zone if asked, records, and an account at the service for that purpose alone.
    """

    def __init__(
        self, name: str, args: RecordsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:records:Records", name, None, opts)
        cloud = clouds.of(catalogue.CLOUD_OF_DNS[args.dns.provider])
        child = pulumi.ResourceOptions(parent=self)
        zone = cloud.zone("zone", args.dns.zone, args.dns.create, child)
        for record in args.records:
            addresses = [args.addresses[host] for host in record.hosts]
            ipv6 = [args.ipv6[host] for host in record.hosts if host in args.ipv6]
            cloud.record(record.label, zone, record.label, "A", addresses, args.dns.ttl, child)
            if ipv6:
                name = f"{record.label}-ipv6"
                cloud.record(name, zone, record.label, "AAAA", ipv6, args.dns.ttl, child)
        self.credential = cloud.dns_credential("acme", args.environment, zone, child)
        self.register_outputs({})
