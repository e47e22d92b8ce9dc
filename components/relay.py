"""One DERP relay, reachable by every client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.artifact_store import ArtifactStore
from components.commands import Step
from components.host import Host
from components.records import Records
from components.relays import Relays
from mesh.roles import relay
from mesh.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RelayArgs:
    """`host` is the booted relay host."""

    settings: Settings
    host: Host
    relays: Relays
    records: Records
    store: ArtifactStore


class Relay(pulumi.ComponentResource):
    """derper with STUN, serving only clients that Headscale knows.

    The name is published before the host asks for its certificate.

    Produces: a bundle.
    """

    def __init__(
        self, name: str, args: RelayArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:relay:Relay", name, None, opts)
        spec, settings = args.host.spec, args.settings
        by_dns = settings.relay(spec.name).certificate == "dns"

        def render(known: dict[str, Any]) -> str:
            return relay.bundle(settings, spec, **known).to_json()

        known = pulumi.Output.all(
            mesh_key=args.relays.mesh_key,
            credential=args.records.credential if by_dns else None,
            pinned=args.relays.pinned.get(spec.name),
            artifacts=args.store.sources(spec.role),
            ipv6=args.host.ipv6,
        )
        step = Step(
            command="sudo mesh-apply",
            stdin=known.apply(render),
            runs_again_with=[args.host.instance_id],
            minutes=10,
        )
        args.host.command(f"{spec.name}-bundle", step, [args.records])
        self.register_outputs({})
