"""One DERP relay, reachable by every client."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.artifact_store import ArtifactStore
from components.certificates import Authority, CertificateNames
from components.commands import Step
from components.host import Host
from mesh.roles import relay
from mesh.secrets import ArtifactSource, Certificate
from mesh.settings import Settings
from mesh.topology import Topology


@dataclass(frozen=True, kw_only=True)
class RelayArgs:
    """`host` is the booted relay host."""

    settings: Settings
    topology: Topology
    host: Host
    authority: Authority
    store: ArtifactStore


class Relay(pulumi.ComponentResource):
    """derper with STUN, serving only clients that Headscale knows.

    Produces: certificate and bundle.
    """

    def __init__(
        self, name: str, args: RelayArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:relay:Relay", name, None, opts)
        spec = args.host.spec
        self.public_name = f"{spec.name}.{args.settings.dns.zone}"
        certificate = args.authority.issue(
            self.public_name, CertificateNames(dns=[self.public_name])
        )

        def render(certificate: Certificate, artifacts: dict[str, ArtifactSource]) -> str:
            return relay.bundle(
                args.settings, args.topology, spec, certificate, artifacts
            ).to_json()

        step = Step(
            command="sudo mesh-apply",
            stdin=pulumi.Output.all(certificate, args.store.sources(spec.role)).apply(
                lambda known: render(*known)
            ),
            runs_again_with=[args.host.instance_id],
            minutes=10,
        )
        self.ready = args.host.command(f"{spec.name}-bundle", step, [])
        self.register_outputs({"public_name": self.public_name})
