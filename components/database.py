"""The database: PostgreSQL under Patroni on two hosts, etcd on three."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_random as random

from components.artifact_store import ArtifactStore
from components.certificates import Authority, CertificateNames
from components.commands import Step
from components.host import Host
from components.outputs import secret
from components.relays import Relays
from mesh.roles import database, ops, parts
from mesh.secrets import ControlPasswords, DatabasePasswords
from mesh.settings import Settings
from mesh.topology import Topology

_PASSWORD_LENGTH = 32
_ROLES = ("superuser", "replication", "rewind")


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """`hosts` has the booted voters by name."""

    settings: Settings
    topology: Topology
    hosts: Mapping[str, Host]
    authority: Authority
    relays: Relays
    store: ArtifactStore


class Database(pulumi.ComponentResource):
    """The cluster, and inside it Headscale's database.

    The three bundles run side by side, since etcd needs its voters together; the database and
    its fence are made once a primary has its standby in step.

    Produces: passwords, a certificate and a bundle a voter, the database.
    """

    def __init__(
        self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:database:Database", name, None, opts)
        self._args = args
        self.passwords = self._make_passwords()
        bundles = [self._bundle(host) for host in args.hosts.values()]
        self.ready = self._make_database(bundles)
        self.register_outputs({})

    def _make_passwords(self) -> pulumi.Output[DatabasePasswords]:
        controls = [host.name for host in self._args.topology.having("control")]
        known = {role: self._password(role) for role in _ROLES}
        known |= {f"headscale {name}": self._password(f"headscale-{name}") for name in controls}
        known |= {f"guard {name}": self._password(f"guard-{name}") for name in controls}

        def collect(known: dict[str, str]) -> DatabasePasswords:
            return DatabasePasswords(
                **{role: known[role] for role in _ROLES},
                controls={
                    name: ControlPasswords(
                        headscale=known[f"headscale {name}"], guard=known[f"guard {name}"]
                    )
                    for name in controls
                },
            )

        return secret(pulumi.Output.all(**known)).apply(collect)

    def _password(self, role: str) -> pulumi.Output[str]:
        return random.RandomPassword(
            f"postgres-{role}",
            length=_PASSWORD_LENGTH,
            special=False,
            opts=pulumi.ResourceOptions(parent=self),
        ).result

    def _bundle(self, host: Host) -> pulumi.Resource:
        args, spec = self._args, host.spec
        names = [spec.name, parts.POSTGRES_NAME, "localhost"]
        certificate = args.authority.issue(
            spec.name,
            CertificateNames(dns=names, addresses=[str(spec.address), "127.0.0.1"]),
        )

        def render(known: dict[str, Any]) -> str:
            build = ops.bundle if spec.role == "ops" else database.bundle
            return build(args.settings, args.topology, spec, **known).to_json()

        own: dict[str, Any] = {"passwords": self.passwords}
        if spec.role == "ops":
            own = {"mesh_key": args.relays.mesh_key, "relays": args.relays.nodes}
        known = pulumi.Output.all(
            certificate=certificate, artifacts=args.store.sources(spec.role), **own
        )
        step = Step(
            command="sudo mesh-apply",
            stdin=known.apply(render),
            runs_again_with=[host.instance_id],
            minutes=10,
        )
        return host.command(f"{spec.name}-bundle", step, [])

    def _make_database(self, bundles: list[pulumi.Resource]) -> pulumi.Resource:
        args = self._args
        first = args.hosts[args.topology.having("database")[0].name]
        step = Step(
            command="sudo mesh-database",
            stdin=self.passwords.apply(
                lambda known: database.cluster(args.settings, args.topology, known)
            ),
            runs_again_with=[first.instance_id],
            minutes=10,
        )
        return first.command("headscale-database", step, bundles)
