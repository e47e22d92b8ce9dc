"""One machine at any of the clouds, from its first boot to an identity of its own."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_tls as tls

from components import clouds, commands
from components.commands import Door, Step
from components.outputs import secret
from mesh import topology, userdata
from mesh.settings import Settings


@dataclass(frozen=True, kw_only=True)
class HostArgs:
    """`key_pair` is the cloud's name of the operators' key; `bastion` the way to a private host.

    `subnet_ipv6` is the subnet's IPv6 range, for a host with a public IPv6 address.
    """

    settings: Settings
    host: topology.Host
    network_id: pulumi.Output[str]
    subnet_id: pulumi.Output[str]
    subnet_ipv6: pulumi.Output[str] | None
    key_pair: pulumi.Output[str]
    operators_key: tls.PrivateKey
    bastion: Door | None


class Host(pulumi.ComponentResource):
    """A booted host that shows a host key no one else has ever seen: `host_key`, its public half.

    The bootstrap host key travels in the user-data, so it is pinned for one connection only: the
    first command waits for cloud-init, then replaces it on the host and returns the new one.

    `ipv6` is its public IPv6 address, or None.

    Produces: bootstrap key, firewall, instance, public addresses where it has some, boot command.
    """

    def __init__(
        self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:host:Host", name, None, opts)
        self.spec = args.host
        self._cloud = clouds.of(args.host.cloud)
        self._child = pulumi.ResourceOptions(parent=self)
        self._bootstrap = tls.PrivateKey(f"{name}-bootstrap", algorithm="ED25519", opts=self._child)
        asked = self._instance_args(name, args)
        # Two cannot have the same private address.
        alone = clouds.options(self._child, pulumi.ResourceOptions(delete_before_replace=True))
        self._instance = self._cloud.instance(name, args.host, asked, alone)
        self.address = self._make_address(name, args)
        self.ipv6 = self._make_ipv6(name, args, asked)
        self._boot = self._boot_command(name, args)
        # What a command prints is secret; of this one it is a public key.
        self.host_key = pulumi.Output.unsecret(self._boot.stdout).apply(str.strip)
        self.door = self._door(args, self.host_key)
        self.register_outputs({"address": self.address})

    @property
    def instance_id(self) -> pulumi.Output[str]:
        """The cloud's id: changes when the host is a new one."""
        return self._instance.id

    def command(
        self, name: str, step: Step, depends_on: list[pulumi.Resource]
    ) -> commands.RemoteCommand:
        """Runs a step on this host, forgotten together with it."""
        opts = pulumi.ResourceOptions(
            parent=self, deleted_with=self._instance, depends_on=[self._boot, *depends_on]
        )
        return commands.run(name, self.door, step, opts)

    def _instance_args(self, name: str, args: HostArgs) -> clouds.InstanceArgs:
        environment = args.settings.environment
        firewall = self._cloud.firewall(
            name, environment, args.network_id, args.host.rules, self._child
        )
        keys = pulumi.Output.all(
            args.operators_key.public_key_openssh,
            self._bootstrap.private_key_openssh,
            self._bootstrap.public_key_openssh,
        )
        user_data = secret(keys).apply(
            lambda keys: userdata.render(
                args.settings,
                args.host,
                authorized_key=keys[0].strip(),
                bootstrap_host_key=keys[1],
                bootstrap_host_public_key=keys[2].strip(),
            )
        )
        return clouds.InstanceArgs(
            environment=environment,
            network_id=args.network_id,
            subnet_id=args.subnet_id,
            firewall_id=firewall,
            key_pair=args.key_pair,
            user_data=user_data,
            ipv6=self._ipv6_address(name, args),
            os=args.settings.os,
            protect=args.settings.protect,
        )

    def _ipv6_address(self, name: str, args: HostArgs) -> clouds.Ipv6 | None:
        if args.subnet_ipv6 is None:
            return None
        return self._cloud.ipv6_address(
            name, args.settings.environment, args.subnet_id, args.subnet_ipv6, self._child
        )

    def _make_address(self, name: str, args: HostArgs) -> pulumi.Output[str]:
        """The public address, or the private one of a host that has none."""
        if not args.host.public:
            return self._instance.id.apply(lambda _: str(args.host.address))
        return self._cloud.public_address(
            name, args.settings.environment, self._instance, args.host, self._child
        )

    def _make_ipv6(
        self, name: str, args: HostArgs, asked: clouds.InstanceArgs
    ) -> pulumi.Output[str] | None:
        if asked.ipv6 is None:
            return None
        return self._cloud.public_ipv6(
            name, args.settings.environment, self._instance, args.host, asked, self._child
        )

    def _door(self, args: HostArgs, host_key: pulumi.Output[str]) -> Door:
        return Door(
            address=self.address,
            private_key=args.operators_key.private_key_openssh,
            host_key=host_key,
            behind=args.bastion,
        )

    def _boot_command(self, name: str, args: HostArgs) -> commands.RemoteCommand:
        door = self._door(args, self._bootstrap.public_key_openssh.apply(str.strip))
        step = Step(
            command="sudo mesh-boot",
            stdin=None,
            runs_again_with=[self._instance.id],
            minutes=20,
        )
        # The bootstrap key opens the host once: a changed connection must not run this again.
        opts = pulumi.ResourceOptions(
            parent=self, deleted_with=self._instance, ignore_changes=["connection"]
        )
        return commands.run(f"{name}-boot", door, step, opts)
