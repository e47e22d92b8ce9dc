"""Headscale on two control hosts: one active, one cold, as their guards agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_random as random

from components.artifact_store import ArtifactStore
from components.certificates import Authority, CertificateNames
from components.commands import Step
from components.database import Database
from components.host import Host
from components.outputs import secret
from components.records import Records
from components.relays import Relays
from mesh.roles import control
from mesh.secrets import DatabasePasswords
from mesh.settings import Settings
from mesh.topology import Topology

_NOISE_KEY_BYTES = 32  # a Curve25519 key


@dataclass(frozen=True, kw_only=True)
class HeadscalePairArgs:
    """`hosts` has the booted control hosts by name."""

    settings: Settings
    topology: Topology
    hosts: Mapping[str, Host]
    authority: Authority
    database: Database
    records: Records
    relays: Relays
    store: ArtifactStore


class HeadscalePair(pulumi.ComponentResource):
    """The control plane as clients see it: one name, two entries, one noise key.

    Both hosts carry the same key and maps; their guards agree on which one serves. A change
    reaches one host after the other, so that one can always serve.

    Produces: noise key, a certificate and a bundle a host.
    """

    def __init__(
        self, name: str, args: HeadscalePairArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:headscale:HeadscalePair", name, None, opts)
        self._args = args
        noise = random.RandomBytes(
            "noise-key", length=_NOISE_KEY_BYTES, opts=pulumi.ResourceOptions(parent=self)
        )
        self._noise_key = secret(noise.hex).apply(lambda key: f"privkey:{key}")
        self.ready: list[pulumi.Resource] = []
        for host in args.hosts.values():
            self.ready.append(self._bundle(host, self.ready[-1:]))
        self.hosts = list(args.hosts.values())
        self.register_outputs({})

    def _bundle(self, host: Host, earlier: list[pulumi.Resource]) -> pulumi.Resource:
        args, spec = self._args, host.spec
        certificate = args.authority.issue(
            spec.name, CertificateNames(dns=[spec.name], addresses=[str(spec.address)])
        )

        def render(passwords: DatabasePasswords, **known: Any) -> str:
            return control.bundle(
                args.settings,
                args.topology,
                spec,
                passwords=passwords.controls[spec.name],
                **known,
            ).to_json()

        known = pulumi.Output.all(
            passwords=args.database.passwords,
            noise_key=self._noise_key,
            own=certificate,
            credential=args.records.credential,
            relays=args.relays.nodes,
            artifacts=args.store.sources(spec.role),
        )
        step = Step(
            command="sudo mesh-apply",
            stdin=known.apply(lambda values: render(**values)),
            runs_again_with=[host.instance_id],
            minutes=10,
        )
        return host.command(f"{spec.name}-bundle", step, [args.database.ready, *earlier])
