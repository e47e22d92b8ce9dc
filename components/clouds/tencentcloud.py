"""Tencent Cloud: VPC, CVM, EIP, DNSPod, CAM, COS."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pulumi
import tencentcloud_iac_pulumi as tencentcloud

from components import clouds
from components.clouds import InstanceArgs, Ipv6, NetworkIds, RecordKind, Zone, lean
from mesh import permissions, topology
from mesh.catalogue import OperatingSystem

lean.install(
    tencentcloud,
    "vpc",
    "subnet",
    "nat",
    "route",
    "security",
    "key",
    "instance",
    "images",
    "enis",
    "eni",
    "classic",
    "eip",
    "dnspod",
    "user",
    "cam",
    "cos",
)

_IMAGES: Final[dict[OperatingSystem, str]] = {
    "debian-12": r"^Debian (Server )?12(\.\d+)? 64bit$",
    "ubuntu-22.04": r"^Ubuntu Server 22\.04 LTS 64bit$",
}
_DISK: Final = "CLOUD_BSSD"
_PROTOCOLS: Final = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "icmpv6": "ICMPv6"}
_ACME: Final = "Answers ACME DNS-01 challenges"


def provider(name: str, region: str, opts: pulumi.ResourceOptions) -> pulumi.ProviderResource:
    """The cloud in one region, with the credentials of the environment variables."""
    # The SDK copies both into the state and takes only the key for a secret.
    secret_id = os.environ.get("TENCENTCLOUD_SECRET_ID")
    return tencentcloud.Provider(
        name,
        region=region,
        secret_id=pulumi.Output.secret(secret_id) if secret_id else None,
        opts=opts,
    )


def network(
    name: str, environment: str, spec: topology.Network, opts: pulumi.ResourceOptions
) -> NetworkIds:
    """A VPC with its subnets. Hosts with an EIP need no route; the others get the NAT gateway."""
    vpc = tencentcloud.vpc.Instance(
        name,
        name=f"{environment}-{name}",
        cidr_block=str(spec.cidr),
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    private = _nat(name, environment, vpc, opts) if spec.needs_nat else None
    made = {
        subnet.name: tencentcloud.subnet.Instance(
            f"{name}-{subnet.name}",
            name=f"{environment}-{name}-{subnet.name}",
            vpc_id=vpc.id,
            availability_zone=subnet.zone,
            cidr_block=str(subnet.cidr),
            route_table_id=None if subnet.public else private,
            tags=clouds.tags(environment, f"{name}-{subnet.name}"),
            opts=opts,
        )
        for subnet in spec.subnets
    }
    return NetworkIds(
        network=vpc.id,
        subnets={name: subnet.id for name, subnet in made.items()},
        ipv6=_ipv6_ranges(name, vpc, made, opts) if spec.ipv6 else {},
    )


def _ipv6_ranges(
    name: str,
    vpc: tencentcloud.vpc.Instance,
    made: Mapping[str, tencentcloud.subnet.Instance],
    opts: pulumi.ResourceOptions,
) -> dict[str, pulumi.Output[str]]:
    """A range of public addresses for the network, and one of it for each subnet."""
    whole = tencentcloud.vpc.Ipv6CidrBlock(name, vpc_id=vpc.id, address_type="GUA", opts=opts)
    part = whole.ipv6_cidr_block.apply(topology.ipv6_subnet)
    found = {}
    for subnet, instance in made.items():
        block = tencentcloud.vpc.Ipv6SubnetCidrBlock(
            f"{name}-{subnet}",
            vpc_id=vpc.id,
            ipv6_subnet_cidr_blocks=tencentcloud.vpc.Ipv6SubnetCidrBlockIpv6SubnetCidrBlocksArgs(
                subnet_id=instance.id, ipv6_cidr_block=part
            ),
            opts=opts,
        )
        found[subnet] = clouds.after(part, block)
    return found


def _nat(
    name: str,
    environment: str,
    vpc: tencentcloud.vpc.Instance,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """The route table through a NAT gateway."""
    gateway = tencentcloud.nat.Gateway(
        f"{name}-nat",
        name=f"{environment}-{name}",
        vpc_id=vpc.id,
        bandwidth=100,
        max_concurrent=1000000,
        assigned_eip_sets=[_eip(f"{name}-nat", environment, 100, opts).public_ip],
        tags=clouds.tags(environment, f"{name}-nat"),
        opts=opts,
    )
    table = tencentcloud.route.Table(
        f"{name}-private",
        name=f"{environment}-{name}-private",
        vpc_id=vpc.id,
        tags=clouds.tags(environment, f"{name}-private"),
        opts=opts,
    )
    way = tencentcloud.route.TableEntry(
        f"{name}-private",
        route_table_id=table.id,
        destination_cidr_block=str(topology.EVERYWHERE),
        next_type="NAT",
        next_hub=gateway.id,
        description="to the internet",
        opts=opts,
    )
    return clouds.after(table.id, way)


def firewall(
    name: str,
    environment: str,
    network_id: pulumi.Input[str],
    rules: tuple[topology.Rule, ...],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """A security group; here it spans the region's networks, so `network_id` is not needed."""
    group = tencentcloud.security.Group(
        name,
        name=f"{environment}-{name}",
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    entries = tencentcloud.security.GroupRuleSet(
        name,
        security_group_id=group.id,
        ingresses=[
            tencentcloud.security.GroupRuleSetIngressArgs(
                action="ACCEPT",
                protocol=_PROTOCOLS[rule.protocol],
                port=_ports(rule),
                cidr_block=clouds.v4(source),
                ipv6_cidr_block=clouds.v6(source),
                description=rule.why,
            )
            for _, rule, source in clouds.sources(rules)
        ],
        egresses=_outward(clouds.has_ipv6(rules)),
        opts=opts,
    )
    return clouds.after(group.id, entries)


def _outward(ipv6: bool) -> list[tencentcloud.security.GroupRuleSetEgressArgs]:
    return [
        tencentcloud.security.GroupRuleSetEgressArgs(
            action="ACCEPT",
            protocol="ALL",
            port="ALL",
            cidr_block=clouds.v4(every),
            ipv6_cidr_block=clouds.v6(every),
            description="everything",
        )
        for _, every in clouds.everywhere(ipv6)
    ]


def _ports(rule: topology.Rule) -> str:
    if rule.is_ping:
        return "ALL"
    one = rule.first_port == rule.last_port
    return str(rule.first_port) if one else f"{rule.first_port}-{rule.last_port}"


def key_pair(
    name: str, environment: str, public_key: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The public key that opens new hosts of the region."""
    pair = tencentcloud.key.Pair(
        name,
        key_name=_key_name(f"{environment}_{name}"),
        public_key=public_key,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    return pair.id


def _key_name(text: str) -> str:
    """At most 25 letters, digits and underscores, as the cloud demands."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    word = re.sub(r"\W", "_", text)
    return word if len(word) <= 25 else f"{word[:16]}_{digest}"


def ipv6_address(
    name: str,
    environment: str,
    subnet_id: pulumi.Input[str],
    subnet_range: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> Ipv6:
    """An address chosen by its place in the range: nothing is to be reserved for one instance."""
    return clouds.by_place(subnet_range)


def instance(
    name: str, host: topology.Host, args: InstanceArgs, opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """A CVM instance. A new image, key or user data reaches only new instances: replace one
    on purpose with `pulumi up --replace <urn>`.

    This provider offers neither encrypted system disks nor a choice of the metadata service.
    """
    guarded = args.protect and host.stateful
    return tencentcloud.instance.Instance(
        name,
        instance_name=f"{args.environment}-{host.name}",
        instance_type=host.instance_type,
        image_id=_image(args.os, opts),
        availability_zone=host.zone,
        vpc_id=args.network_id,
        subnet_id=args.subnet_id,
        private_ip=str(host.address),
        allocate_public_ip=False,  # no public address of its own
        orderly_security_groups=[args.firewall_id],
        key_ids=[args.key_pair],
        user_data_raw=args.user_data,
        system_disk_type=_DISK,
        system_disk_size=host.size.disk_gib,
        data_disks=_data_disks(host),
        disable_api_termination=guarded,
        tags=clouds.tags(args.environment, host.name, role=host.role),
        opts=clouds.options(
            opts,
            pulumi.ResourceOptions(
                protect=guarded, ignore_changes=["image_id", "user_data_raw", "key_ids"]
            ),
        ),
    )


def _data_disks(host: topology.Host) -> list[tencentcloud.instance.InstanceDataDiskArgs]:
    if host.size.data_gib is None:
        return []
    return [
        tencentcloud.instance.InstanceDataDiskArgs(
            data_disk_name="data",
            data_disk_type=_DISK,
            data_disk_size=host.size.data_gib,
            encrypt=True,
        )
    ]


def _image(os: OperatingSystem, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The newest image the cloud itself publishes."""
    found = tencentcloud.images.get_instance_output(
        image_types=["PUBLIC_IMAGE"], image_name_regex=_IMAGES[os], opts=clouds.lookup(opts)
    )
    return found.images.apply(
        lambda images: max(images, key=lambda image: image.created_time).image_id
    )


def public_address(
    name: str,
    environment: str,
    instance: pulumi.CustomResource,
    host: topology.Host,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """An EIP of the host's bandwidth."""
    eip = _eip(name, environment, host.bandwidth_mbps, opts)
    link = tencentcloud.eip.Association(name, eip_id=eip.id, instance_id=instance.id, opts=opts)
    return clouds.after(eip.public_ip, link)


def _eip(
    name: str, environment: str, bandwidth_mbps: int, opts: pulumi.ResourceOptions
) -> tencentcloud.eip.Instance:
    return tencentcloud.eip.Instance(
        name,
        name=f"{environment}-{name}"[:20],  # the cloud allows no more
        internet_max_bandwidth_out=bandwidth_mbps,
        internet_charge_type="TRAFFIC_POSTPAID_BY_HOUR",
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
    """The address on the instance's own interface, and bandwidth for it. The instance itself takes
    only a number of addresses, of the cloud's choice, and only at its birth.
    """
    ipv6 = clouds.ipv6_of(host, args)
    found = tencentcloud.enis.get_instance_output(instance_id=instance.id, opts=clouds.lookup(opts))
    assigned = tencentcloud.eni.Ipv6Address(
        name,
        network_interface_id=found.enis.apply(
            lambda enis: next(eni.id for eni in enis if eni.primary)
        ),
        ipv6_addresses=[tencentcloud.eni.Ipv6AddressIpv6AddressArgs(address=ipv6.address)],
        opts=opts,
    )
    bandwidth = tencentcloud.classic.ElasticPublicIpv6(
        name,
        ip6_address=clouds.after(ipv6.address, assigned),
        internet_max_bandwidth_out=host.bandwidth_mbps,
        internet_charge_type="TRAFFIC_POSTPAID_BY_HOUR",
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    return clouds.after(ipv6.address, bandwidth)


def zone(name: str, zone: str, create: bool, opts: pulumi.ResourceOptions) -> Zone:
    """A DNSPod domain; permissions know it by its number."""
    if create:
        made = tencentcloud.dnspod.DomainInstance(name, domain=zone, opts=opts)
        return Zone(name=made.domain, id=made.domain_id.apply(str))
    return Zone(name=zone, id=_domain_id(zone, opts))


def record(
    name: str,
    zone: Zone,
    label: str,
    kind: RecordKind,
    addresses: Sequence[pulumi.Input[str]],
    ttl: int,
    opts: pulumi.ResourceOptions,
) -> None:
    """One DNSPod record an address."""
    for number, address in enumerate(addresses, start=1):
        tencentcloud.dnspod.Record(
            name if len(addresses) == 1 else f"{name}-{number}",
            domain=zone.name,
            sub_domain=label,
            record_type=kind,
            record_line="默认",  # DNSPod's word for: whoever asks
            value=address,
            ttl=ttl,
            opts=opts,
        )


def dns_credential(
    name: str, environment: str, zone: Zone, opts: pulumi.ResourceOptions
) -> pulumi.Output[Mapping[str, str]]:
    """A CAM user for the records of one DNSPod domain, with its access key."""
    user = tencentcloud.cam.User(
        name,
        name=f"{environment}-{name}",
        remark=_ACME,
        console_login=False,
        use_api=False,  # no second key beside the one below
        opts=opts,
    )
    account = tencentcloud.user.get_info_output(opts=clouds.lookup(opts))
    policy = tencentcloud.cam.Policy(
        name,
        name=f"{environment}-{name}",
        document=pulumi.Output.all(account.owner_uin, zone.id).apply(
            lambda known: permissions.dnspod(*known)
        ),
        description=_ACME,
        opts=opts,
    )
    granted = tencentcloud.cam.UserPolicyAttachment(
        name, user_name=user.name, policy_id=policy.id, opts=opts
    )
    key = tencentcloud.cam.AccessKey(name, target_uin=user.uin, opts=opts)
    variables = {
        "TENCENTCLOUD_SECRET_ID": key.access_key,
        "TENCENTCLOUD_SECRET_KEY": key.secret_access_key,
    }
    return clouds.credential(variables, granted)


def _domain_id(zone: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The number of an existing domain, by which DNSPod's permissions name it."""
    found = tencentcloud.dnspod.get_domain_list_output(
        type="ALL", keyword=zone, opts=clouds.lookup(opts)
    )

    def exact(domains: Sequence[Any]) -> str:  # the search also finds longer names
        for domain in domains:
            if zone in (domain.name, domain.punycode):
                return str(domain.domain_id)
        raise ValueError(f"DNSPod has no domain {zone} in this account; add it there first")

    return found.domain_lists.apply(exact)


def bucket(
    name: str,
    unique_name: str,
    region: str,
    objects: Mapping[str, Path],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """A COS bucket; its name ends with the account's number, as the cloud demands. The bucket
    itself cannot be listed.
    """
    account = tencentcloud.user.get_info_output(opts=clouds.lookup(opts))
    full_name = pulumi.Output.concat(unique_name, "-", account.app_id)
    made = tencentcloud.cos.Bucket(
        name, bucket=full_name, acl="private", force_clean=True, opts=opts
    )
    uploads = [
        tencentcloud.cos.BucketObject(
            f"{name}-{path.name}",
            bucket=made.id,
            key=key,
            source=str(path),
            acl="public-read",
            opts=opts,
        )
        for key, path in objects.items()
    ]
    url = pulumi.Output.concat("https://", full_name, f".cos.{region}.myqcloud.com")
    return clouds.after(url, *uploads)
