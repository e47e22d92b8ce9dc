"""What all relays share, and what everybody must know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components import certificates
from components.host import Host
from components.outputs import secret
from mesh import derp
from mesh.secrets import Certificate
from mesh.settings import Settings

_KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class RelaysArgs:
    """`hosts` has the relay hosts by name."""

    settings: Settings
    hosts: Mapping[str, Host]


class Relays(pulumi.ComponentResource):
    """The relays as one thing: where they are, and how their friends know them.

    `mesh_key` lets relays and the prober in past the check of clients; it is secret. `pinned` has
    the certificates of those that clients know by a hash. `nodes` is what the DERP map says of
    each.

    Produces: the mesh key, a self-signed certificate for each pinned relay.
    """

    def __init__(
        self, name: str, args: RelaysArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:relays:Relays", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = random.RandomBytes("derp-mesh-key", length=_KEY_BYTES, opts=child)
        self.mesh_key = secret(key.hex)
        self.pinned: dict[str, pulumi.Output[Certificate]] = {
            host: certificates.pinned(host, f"{host}.{args.settings.dns.zone}", child)
            for host in derp.pinned(args.settings)
        }
        self.nodes = pulumi.Output.all(
            addresses={host: made.address for host, made in args.hosts.items()},
            hashes={
                host: pair.apply(lambda known: derp.certificate_name(known.certificate))
                for host, pair in self.pinned.items()
            },
            ipv6={host: made.ipv6 for host, made in args.hosts.items() if made.ipv6},
        ).apply(lambda known: derp.Nodes(known["addresses"], known["hashes"], known["ipv6"]))
        self.register_outputs({})
