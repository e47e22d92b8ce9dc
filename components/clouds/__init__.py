"""What the three clouds can do for a mesh, as one interface.

`of` gives the module of a cloud; only the clouds that a stack uses are imported, because
importing a cloud's SDK is the dearest part of a preview. The three modules define the same
functions in the same order: their diff is the difference of the clouds.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast

import pulumi

from mesh import topology
from mesh.catalogue import Cloud, OperatingSystem

if TYPE_CHECKING:
    from components.clouds import alicloud, aws, tencentcloud

T = TypeVar("T")
RecordKind = Literal["A", "AAAA"]


@dataclass(frozen=True, kw_only=True)
class NetworkIds:
    """A network as the cloud knows it; a subnet's id is there once its routes are.

    `ipv6` has the IPv6 ranges of the subnets, if the network has IPv6.
    """

    network: pulumi.Output[str]
    subnets: Mapping[str, pulumi.Output[str]]
    ipv6: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ipv6:
    """An IPv6 address, and what the cloud calls it."""

    address: pulumi.Output[str]
    id: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class InstanceArgs:
    """What an instance needs beside its host's plan. `user_data` is plain text."""

    environment: str
    network_id: pulumi.Input[str]
    subnet_id: pulumi.Input[str]
    firewall_id: pulumi.Input[str]
    key_pair: pulumi.Input[str]
    user_data: pulumi.Input[str]
    ipv6: Ipv6 | None = None
    os: OperatingSystem
    protect: bool  # refuse to delete the host if it is stateful


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A DNS zone: its name, known once it exists, and what the service's permissions call it."""

    name: pulumi.Input[str]
    id: pulumi.Output[str]


class CloudApi(Protocol):
    """What each module of this package offers.

    `name` is the resource's name in Pulumi; what the cloud shows is prefixed with the
    environment. `opts` carries the parent, from which the cloud's provider is inherited.
    """

    def provider(
        self, name: str, region: str, opts: pulumi.ResourceOptions
    ) -> pulumi.ProviderResource:
        """The cloud in one region, with the credentials of the environment variables."""
        ...

    def network(
        self, name: str, environment: str, spec: topology.Network, opts: pulumi.ResourceOptions
    ) -> NetworkIds:
        """A network with its subnets and its ways to the internet."""
        ...

    def firewall(
        self,
        name: str,
        environment: str,
        network_id: pulumi.Input[str],
        rules: tuple[topology.Rule, ...],
        opts: pulumi.ResourceOptions,
    ) -> pulumi.Output[str]:
        """A security group: in come exactly the rules, out goes everything."""
        ...

    def key_pair(
        self,
        name: str,
        environment: str,
        public_key: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> pulumi.Output[str]:
        """The public key that opens new hosts of the region."""
        ...

    def ipv6_address(
        self,
        name: str,
        environment: str,
        subnet_id: pulumi.Input[str],
        subnet_range: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> Ipv6:
        """An IPv6 address in a subnet for a host to come; it outlives the instance."""
        ...

    def instance(
        self, name: str, host: topology.Host, args: InstanceArgs, opts: pulumi.ResourceOptions
    ) -> pulumi.CustomResource:
        """A host with its fixed private address and encrypted disks, without public address."""
        ...

    def public_address(
        self,
        name: str,
        environment: str,
        instance: pulumi.CustomResource,
        host: topology.Host,
        opts: pulumi.ResourceOptions,
    ) -> pulumi.Output[str]:
        """A public address that outlives the instance; known once it leads there."""
        ...

    def public_ipv6(
        self,
        name: str,
        environment: str,
        instance: pulumi.CustomResource,
        host: topology.Host,
        args: InstanceArgs,
        opts: pulumi.ResourceOptions,
    ) -> pulumi.Output[str]:
        """The IPv6 address in `args`, known once it leads to the instance from everywhere."""
        ...

    def zone(self, name: str, zone: str, create: bool, opts: pulumi.ResourceOptions) -> Zone:
        """A zone that exists, or a new one; its registrar must then be told its name servers."""
        ...

    def record(
        self,
        name: str,
        zone: Zone,
        label: str,
        kind: RecordKind,
        addresses: Sequence[pulumi.Input[str]],
        ttl: int,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """The records of that kind of a name."""
        ...

    def dns_credential(
        self, name: str, environment: str, zone: Zone, opts: pulumi.ResourceOptions
    ) -> pulumi.Output[Mapping[str, str]]:
        """A key that may answer ACME's DNS-01 challenges in a zone, and little else.

        Secret: the environment variables of lego's provider (`catalogue.LEGO_PROVIDERS`). Known
        once the key may be used.
        """
        ...

    def bucket(
        self,
        name: str,
        unique_name: str,
        region: str,
        objects: Mapping[str, Path],
        opts: pulumi.ResourceOptions,
    ) -> pulumi.Output[str]:
        """A bucket of public objects (key → local file); its URL as the cloud's hosts see it."""
        ...


def of(cloud: Cloud) -> CloudApi:
    """The module of a cloud."""
    return cast(CloudApi, importlib.import_module(f"components.clouds.{cloud}"))


if TYPE_CHECKING:  # the cast above is true: each module has all of CloudApi
    _CHECKED: tuple[CloudApi, ...] = (alicloud, tencentcloud, aws)


def after(value: pulumi.Output[T], *resources: pulumi.Resource) -> pulumi.Output[T]:
    """The value, for whom must not start before the resources are there.

    By their URNs, which a preview knows, so that waiting does not make the value unknown.
    """
    waiting = [resource.urn for resource in resources]
    return pulumi.Output.all(value, *waiting).apply(lambda known: cast(T, known[0]))


def credential(
    variables: Mapping[str, pulumi.Input[str]], *permissions: pulumi.Resource
) -> pulumi.Output[Mapping[str, str]]:
    """Environment variables as one secret, known once the permissions are there."""
    whole: pulumi.Output[Mapping[str, str]] = pulumi.Output.all(**variables).apply(dict)
    return after(pulumi.Output.secret(whole), *permissions)


def options(opts: pulumi.ResourceOptions, more: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """The caller's options with more of the resource's own."""
    return pulumi.ResourceOptions.merge(opts, more)


def lookup(opts: pulumi.ResourceOptions) -> pulumi.InvokeOptions:
    """Where to look something up: the same cloud, region and account as the resource."""
    return pulumi.InvokeOptions(parent=opts.parent, provider=opts.provider)


def tags(environment: str, name: str, **more: str) -> dict[str, str]:
    """The tags of everything that can bear tags."""
    return {"Name": f"{environment}-{name}", "environment": environment, **more}


def sources(rules: tuple[topology.Rule, ...]) -> list[tuple[str, topology.Rule, topology.Source]]:
    """Each rule with each network it lets in, under a name that the other rules do not change."""
    return [(_rule_name(rule, source), rule, source) for rule in rules for source in rule.sources]


def has_ipv6(rules: tuple[topology.Rule, ...]) -> bool:
    """Whether a rule lets in IPv6."""
    return any(source.version == 6 for _, _, source in sources(rules))


def everywhere(ipv6: bool) -> list[tuple[str, topology.Source]]:
    """The whole internet by address family, under an ending for the resource's name."""
    ranges: list[tuple[str, topology.Source]] = [("", topology.EVERYWHERE)]
    return [*ranges, ("-ipv6", topology.EVERYWHERE6)] if ipv6 else ranges


def v4(source: topology.Source) -> str | None:
    """The range if it is one of IPv4."""
    return str(source) if source.version == 4 else None


def v6(source: topology.Source) -> str | None:
    """The range if it is one of IPv6."""
    return str(source) if source.version == 6 else None


def by_place(subnet_range: pulumi.Input[str]) -> Ipv6:
    """The address of a subnet's one host, chosen by its place in the IPv6 range."""
    address = pulumi.Output.from_input(subnet_range).apply(topology.ipv6_address)
    return Ipv6(address=address, id=address)


def ipv6_of(host: topology.Host, args: InstanceArgs) -> Ipv6:
    """What `public_ipv6` shows to everywhere; ValueError when the host was made without it."""
    if args.ipv6 is None:
        raise ValueError(f"host {host.name} has no IPv6 address")
    return args.ipv6


def _rule_name(rule: topology.Rule, source: topology.Source) -> str:
    ports = "" if rule.is_ping else f"-{rule.first_port}"
    if rule.first_port != rule.last_port:
        ports += f"-{rule.last_port}"
    peer = f"-{source}".replace("/", "-").replace(":", "-")
    peer = {topology.EVERYWHERE: "", topology.EVERYWHERE6: "-ipv6"}.get(source, peer)
    return f"{rule.protocol}{ports}{peer}"
