"""Alibaba Cloud: VPC, ECS, EIP, Alidns, RAM, OSS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pulumi
import pulumi_alicloud as alicloud

from components import clouds
from components.clouds import InstanceArgs, Ipv6, NetworkIds, RecordKind, Zone, lean
from mesh import permissions, topology
from mesh.catalogue import OperatingSystem

lean.install(alicloud, "vpc", "ecs", "dns", "ram", "oss")

_IMAGES: Final[dict[OperatingSystem, str]] = {
    "debian-12": r"^debian_12_\d+_x64_\d+G_alibase_\d+\.vhd$",
    "ubuntu-22.04": r"^ubuntu_22_04_x64_\d+G_alibase_\d+\.vhd$",
}
_DISK: Final = "cloud_essd"
_SWITCH: Final = 1  # which of the network's IPv6 ranges; the provider takes 0 for: none given
_ACME: Final = "Answers ACME DNS-01 challenges"


def provider(name: str, region: str, opts: pulumi.ResourceOptions) -> pulumi.ProviderResource:
    """The cloud in one region, with the credentials of the environment variables."""
    return alicloud.Provider(name, region=region, opts=opts)


def network(
    name: str, environment: str, spec: topology.Network, opts: pulumi.ResourceOptions
) -> NetworkIds:
    """A VPC with its switches. Hosts with an EIP need no route; the others get the NAT gateway."""
    vpc = alicloud.vpc.Network(
        name,
        vpc_name=f"{environment}-{name}",
        cidr_block=str(spec.cidr),
        enable_ipv6=spec.ipv6 or None,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    switches = {
        subnet.name: alicloud.vpc.Switch(
            f"{name}-{subnet.name}",
            vpc_id=vpc.id,
            vswitch_name=f"{environment}-{name}-{subnet.name}",
            zone_id=subnet.zone,
            cidr_block=str(subnet.cidr),
            enable_ipv6=spec.ipv6 or None,
            ipv6_cidr_block_mask=_SWITCH if spec.ipv6 else None,
            tags=clouds.tags(environment, f"{name}-{subnet.name}"),
            opts=opts,
        )
        for subnet in spec.subnets
    }
    ways = _nat(name, environment, spec, switches, opts) if spec.needs_nat else {}
    return NetworkIds(
        network=vpc.id,
        subnets={
            subnet: clouds.after(switch.id, *ways.get(subnet, ()))
            for subnet, switch in switches.items()
        },
        ipv6={name: switch.ipv6_cidr_block for name, switch in switches.items() if spec.ipv6},
    )


def _nat(
    name: str,
    environment: str,
    spec: topology.Network,
    switches: Mapping[str, alicloud.vpc.Switch],
    opts: pulumi.ResourceOptions,
) -> dict[str, tuple[pulumi.Resource, ...]]:
    """A NAT gateway in the first public switch; private switch → its way through it."""
    public = next(subnet.name for subnet in spec.subnets if subnet.public)
    gateway = alicloud.vpc.NatGateway(
        f"{name}-nat",
        nat_gateway_name=f"{environment}-{name}",
        vpc_id=switches[public].vpc_id,
        vswitch_id=switches[public].id,
        nat_type="Enhanced",  # the only type still sold
        payment_type="PayAsYouGo",
        tags=clouds.tags(environment, f"{name}-nat"),
        opts=opts,
    )
    eip = _eip(f"{name}-nat", environment, 100, opts)
    link = alicloud.ecs.EipAssociation(
        f"{name}-nat",
        allocation_id=eip.id,
        instance_id=gateway.id,
        instance_type="Nat",
        opts=opts,
    )
    return {
        subnet.name: (
            alicloud.vpc.SnatEntry(
                f"{name}-{subnet.name}",
                snat_table_id=gateway.snat_table_ids,
                source_vswitch_id=switches[subnet.name].id,
                snat_ip=clouds.after(eip.ip_address, link),
                opts=opts,
            ),
        )
        for subnet in spec.subnets
        if not subnet.public
    }


def firewall(
    name: str,
    environment: str,
    network_id: pulumi.Input[str],
    rules: tuple[topology.Rule, ...],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """A basic security group, which lets everything out unless a rule says otherwise."""
    group = alicloud.ecs.SecurityGroup(
        name,
        security_group_name=f"{environment}-{name}",
        vpc_id=network_id,
        inner_access_policy="Drop",  # by default members reach each other on every port
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    entries = [
        alicloud.ecs.SecurityGroupRule(
            f"{name}-{suffix}",
            security_group_id=group.id,
            type="ingress",
            policy="accept",
            nic_type="intranet",  # the only one inside a VPC, also for traffic from outside
            priority=1,
            ip_protocol=rule.protocol,
            port_range="-1/-1" if rule.is_ping else f"{rule.first_port}/{rule.last_port}",
            cidr_ip=clouds.v4(source),
            ipv6_cidr_ip=clouds.v6(source),
            description=rule.why,
            opts=opts,
        )
        for suffix, rule, source in clouds.sources(rules)
    ]
    return clouds.after(group.id, *entries)


def key_pair(
    name: str, environment: str, public_key: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The public key that opens new hosts of the region."""
    pair = alicloud.ecs.EcsKeyPair(
        name,
        key_pair_name=f"{environment}-{name}",
        public_key=public_key,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    return pair.id


def ipv6_address(
    name: str,
    environment: str,
    subnet_id: pulumi.Input[str],
    subnet_range: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> Ipv6:
    """An address reserved in the switch."""
    made = alicloud.vpc.Ipv6Address(
        name,
        vswitch_id=subnet_id,
        ipv6_address_name=f"{environment}-{name}",
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    return Ipv6(address=made.ipv6_address, id=made.id)


def instance(
    name: str, host: topology.Host, args: InstanceArgs, opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """An ECS instance. A new image, key or user data reaches only new instances: replace one
    on purpose with `pulumi up --replace <urn>`.
    """
    guarded = args.protect and host.stateful
    return alicloud.ecs.Instance(
        name,
        instance_name=f"{args.environment}-{host.name}",
        instance_type=host.instance_type,
        image_id=_image(args.os, opts),
        availability_zone=host.zone,
        vswitch_id=args.subnet_id,
        private_ip=str(host.address),
        ipv6_addresses=[args.ipv6.address] if args.ipv6 else None,
        internet_max_bandwidth_out=0,  # no public address of its own
        security_groups=[args.firewall_id],
        key_name=args.key_pair,
        user_data=args.user_data,
        http_endpoint="enabled",
        http_tokens="required",  # metadata only by session token
        system_disk_category=_DISK,
        system_disk_size=host.size.disk_gib,
        system_disk_encrypted=True,
        data_disks=_data_disks(host),
        deletion_protection=guarded,
        tags=clouds.tags(args.environment, host.name, role=host.role),
        opts=clouds.options(
            opts,
            pulumi.ResourceOptions(
                protect=guarded, ignore_changes=["image_id", "user_data", "key_name"]
            ),
        ),
    )


def _data_disks(host: topology.Host) -> list[alicloud.ecs.InstanceDataDiskArgs]:
    if host.size.data_gib is None:
        return []
    return [
        alicloud.ecs.InstanceDataDiskArgs(
            name="data", category=_DISK, size=host.size.data_gib, encrypted=True
        )
    ]


def _image(os: OperatingSystem, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The newest image the cloud itself publishes."""
    found = alicloud.ecs.get_images_output(
        owners="system", name_regex=_IMAGES[os], most_recent=True, opts=clouds.lookup(opts)
    )
    return found.ids[0]


def public_address(
    name: str,
    environment: str,
    instance: pulumi.CustomResource,
    host: topology.Host,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """An EIP of the host's bandwidth."""
    eip = _eip(name, environment, host.bandwidth_mbps, opts)
    link = alicloud.ecs.EipAssociation(
        name, allocation_id=eip.id, instance_id=instance.id, instance_type="EcsInstance", opts=opts
    )
    return clouds.after(eip.ip_address, link)


def _eip(
    name: str, environment: str, bandwidth_mbps: int, opts: pulumi.ResourceOptions
) -> alicloud.ecs.EipAddress:
    return alicloud.ecs.EipAddress(
        name,
        address_name=f"{environment}-{name}",
        bandwidth=str(bandwidth_mbps),
        internet_charge_type="PayByTraffic",
        payment_type="PayAsYouGo",
        tags=clouds.tags(environment, name),
        opts=opts,
    )


def public_ipv6(
    name: str,
    environment: str,
    instance: pulumi.CustomResource,
    host: topology.Host,
    args: InstanceArgs,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """An IPv6 gateway of the network, and the host's bandwidth through it."""
    ipv6 = clouds.ipv6_of(host, args)
    gateway = alicloud.vpc.Ipv6Gateway(
        name,
        ipv6_gateway_name=f"{environment}-{name}",
        vpc_id=args.network_id,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    bandwidth = alicloud.vpc.Ipv6InternetBandwidth(
        name,
        ipv6_address_id=clouds.after(ipv6.id, instance),
        ipv6_gateway_id=gateway.id,
        bandwidth=host.bandwidth_mbps,
        internet_charge_type="PayByTraffic",
        opts=opts,
    )
    return clouds.after(ipv6.address, bandwidth)


def zone(name: str, zone: str, create: bool, opts: pulumi.ResourceOptions) -> Zone:
    """An Alidns domain; permissions know it by its name."""
    if not create:
        return Zone(name=zone, id=pulumi.Output.from_input(zone))
    made = alicloud.dns.AlidnsDomain(name, domain_name=zone, opts=opts)
    return Zone(name=made.domain_name, id=made.domain_name)


def record(
    name: str,
    zone: Zone,
    label: str,
    kind: RecordKind,
    addresses: Sequence[pulumi.Input[str]],
    ttl: int,
    opts: pulumi.ResourceOptions,
) -> None:
    """One Alidns record an address."""
    for number, address in enumerate(addresses, start=1):
        alicloud.dns.AlidnsRecord(
            name if len(addresses) == 1 else f"{name}-{number}",
            domain_name=zone.name,
            rr=label,
            type=kind,
            value=address,
            ttl=ttl,
            opts=opts,
        )


def dns_credential(
    name: str, environment: str, zone: Zone, opts: pulumi.ResourceOptions
) -> pulumi.Output[Mapping[str, str]]:
    """A RAM user for the records of one Alidns domain, with its access key."""
    user = alicloud.ram.User(name, name=f"{environment}-{name}", comments=_ACME, opts=opts)
    policy = alicloud.ram.Policy(
        name,
        policy_name=f"{environment}-{name}",
        policy_document=zone.id.apply(permissions.alidns),
        description=_ACME,
        # A policy keeps five versions, and the sixth change would fail.
        rotate_strategy="DeleteOldestNonDefaultVersionWhenLimitExceeded",
        opts=opts,
    )
    granted = alicloud.ram.UserPolicyAttachment(
        name,
        user_name=user.name,
        policy_name=policy.policy_name,
        policy_type=policy.type,
        opts=opts,
    )
    key = alicloud.ram.AccessKey(name, user_name=user.name, opts=opts)
    variables = {"ALICLOUD_ACCESS_KEY": key.id, "ALICLOUD_SECRET_KEY": key.secret}
    return clouds.credential(variables, granted)


def bucket(
    name: str,
    unique_name: str,
    region: str,
    objects: Mapping[str, Path],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """An OSS bucket, addressed by the endpoint inside its region: mainland buckets refuse
    downloads by the public one. The bucket itself cannot be listed.
    """
    made = alicloud.oss.Bucket(name, bucket=unique_name, force_destroy=True, opts=opts)
    opened = alicloud.oss.BucketPublicAccessBlock(
        name, bucket=made.id, block_public_access=False, opts=opts
    )
    uploads = [
        alicloud.oss.BucketObject(
            f"{name}-{path.name}",
            bucket=clouds.after(made.id, opened),
            key=key,
            source=str(path),
            acl="public-read",
            opts=opts,
        )
        for key, path in objects.items()
    ]
    url = f"https://{unique_name}.oss-{region}-internal.aliyuncs.com"
    return clouds.after(pulumi.Output.from_input(url), *uploads)
