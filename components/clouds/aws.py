"""AWS: VPC, EC2, Elastic IP, Route 53, IAM, S3."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pulumi
import pulumi_aws as aws

from components import clouds
from components.clouds import (
    InstanceArgs,
    Ipv6,
    NetworkIds,
    RecordKind,
    Zone,
    lean,
)
from mesh import permissions, topology
from mesh.catalogue import OperatingSystem

lean.install(aws, "ec2", "vpc", "route53", "iam", "s3")

# Publisher's account and name of the image.
_IMAGES: Final[dict[OperatingSystem, tuple[str, str]]] = {
    "debian-12": ("136693071363", "debian-12-amd64-*"),
    "ubuntu-22.04": (
        "099720109477",
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*",
    ),
}
_DISK: Final = "gp3"


def provider(name: str, region: str, opts: pulumi.ResourceOptions) -> pulumi.ProviderResource:
    """The cloud in one region, with the credentials of the environment variables."""
    return aws.Provider(name, region=region, opts=opts)


def network(
    name: str, environment: str, spec: topology.Network, opts: pulumi.ResourceOptions
) -> NetworkIds:
    """A VPC with its subnets: public ones lead to the internet gateway, the others to the NAT."""
    vpc = aws.ec2.Vpc(
        name,
        cidr_block=str(spec.cidr),
        assign_generated_ipv6_cidr_block=spec.ipv6 or None,
        enable_dns_hostnames=True,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    made = {
        subnet.name: aws.ec2.Subnet(
            f"{name}-{subnet.name}",
            vpc_id=vpc.id,
            availability_zone=subnet.zone,
            cidr_block=str(subnet.cidr),
            ipv6_cidr_block=vpc.ipv6_cidr_block.apply(topology.ipv6_subnet) if spec.ipv6 else None,
            tags=clouds.tags(environment, f"{name}-{subnet.name}"),
            opts=opts,
        )
        for subnet in spec.subnets
    }
    ways = _ways(name, environment, spec, vpc, made, opts)
    return NetworkIds(
        network=vpc.id,
        subnets={name: clouds.after(subnet.id, *ways[name]) for name, subnet in made.items()},
        ipv6={name: subnet.ipv6_cidr_block for name, subnet in made.items() if spec.ipv6},
    )


def _ways(
    name: str,
    environment: str,
    spec: topology.Network,
    vpc: aws.ec2.Vpc,
    made: Mapping[str, aws.ec2.Subnet],
    opts: pulumi.ResourceOptions,
) -> dict[str, tuple[pulumi.Resource, ...]]:
    """Subnet → its way to the internet."""
    gateway = aws.ec2.InternetGateway(
        name, vpc_id=vpc.id, tags=clouds.tags(environment, name), opts=opts
    )
    public = _table(f"{name}-public", environment, vpc, opts)
    routes = [
        aws.ec2.Route(
            f"{name}-public{suffix}",
            route_table_id=public.id,
            destination_cidr_block=clouds.v4(every),
            destination_ipv6_cidr_block=clouds.v6(every),
            gateway_id=gateway.id,
            opts=opts,
        )
        for suffix, every in clouds.everywhere(spec.ipv6)
    ]
    ways: dict[str, tuple[pulumi.Resource, ...]] = {}
    for subnet in spec.subnets:
        if subnet.public:
            link = _link(f"{name}-{subnet.name}", made[subnet.name], public, opts)
            ways[subnet.name] = (*routes, link)
    if spec.needs_nat:
        entrance = next(subnet.name for subnet in spec.subnets if subnet.public)
        inside = clouds.after(made[entrance].id, *ways[entrance])
        table, through = _nat(name, environment, vpc, inside, opts)
        for subnet in spec.subnets:
            if not subnet.public:
                link = _link(f"{name}-{subnet.name}", made[subnet.name], table, opts)
                ways[subnet.name] = (through, link)
    return ways


def _nat(
    name: str,
    environment: str,
    vpc: aws.ec2.Vpc,
    subnet_id: pulumi.Output[str],
    opts: pulumi.ResourceOptions,
) -> tuple[aws.ec2.RouteTable, aws.ec2.Route]:
    """The route table through a NAT gateway in a public subnet, and its route."""
    gateway = aws.ec2.NatGateway(
        f"{name}-nat",
        subnet_id=subnet_id,
        allocation_id=_eip(f"{name}-nat", environment, opts).id,
        tags=clouds.tags(environment, f"{name}-nat"),
        opts=opts,
    )
    table = _table(f"{name}-private", environment, vpc, opts)
    route = aws.ec2.Route(
        f"{name}-private",
        route_table_id=table.id,
        destination_cidr_block=str(topology.EVERYWHERE),
        nat_gateway_id=gateway.id,
        opts=opts,
    )
    return table, route


def _table(
    name: str, environment: str, vpc: aws.ec2.Vpc, opts: pulumi.ResourceOptions
) -> aws.ec2.RouteTable:
    return aws.ec2.RouteTable(name, vpc_id=vpc.id, tags=clouds.tags(environment, name), opts=opts)


def _link(
    name: str, subnet: aws.ec2.Subnet, table: aws.ec2.RouteTable, opts: pulumi.ResourceOptions
) -> aws.ec2.RouteTableAssociation:
    return aws.ec2.RouteTableAssociation(
        name, subnet_id=subnet.id, route_table_id=table.id, opts=opts
    )


def firewall(
    name: str,
    environment: str,
    network_id: pulumi.Input[str],
    rules: tuple[topology.Rule, ...],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """A security group; without a rule it lets nothing out either."""
    group = aws.ec2.SecurityGroup(
        name,
        name=f"{environment}-{name}",
        description=f"{name} of {environment}",
        vpc_id=network_id,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    entries: list[pulumi.Resource] = [
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-{suffix}",
            security_group_id=group.id,
            ip_protocol=rule.protocol,
            from_port=-1 if rule.is_ping else rule.first_port,
            to_port=-1 if rule.is_ping else rule.last_port,
            cidr_ipv4=clouds.v4(source),
            cidr_ipv6=clouds.v6(source),
            description=_description(rule.why),
            opts=opts,
        )
        for suffix, rule, source in clouds.sources(rules)
    ]
    everything = _outward(name, group, clouds.has_ipv6(rules), opts)
    return clouds.after(group.id, *entries, *everything)


def _outward(
    name: str, group: aws.ec2.SecurityGroup, ipv6: bool, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    return [
        aws.vpc.SecurityGroupEgressRule(
            f"{name}{suffix}",
            security_group_id=group.id,
            ip_protocol="-1",
            cidr_ipv4=clouds.v4(every),
            cidr_ipv6=clouds.v6(every),
            description="everything",
            opts=opts,
        )
        for suffix, every in clouds.everywhere(ipv6)
    ]


def _description(text: str) -> str:
    """The text without the characters that EC2 refuses, such as the apostrophe."""
    return re.sub(r"[^a-zA-Z0-9 ._:/()#,@\[\]+=&;{}!$*-]", "", text)


def key_pair(
    name: str, environment: str, public_key: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The public key that opens new hosts of the region."""
    pair = aws.ec2.KeyPair(
        name,
        key_name=f"{environment}-{name}",
        public_key=public_key,
        tags=clouds.tags(environment, name),
        opts=opts,
    )
    return pair.key_name


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
    """An EC2 instance. A new image, key or user data reaches only new instances: replace one
    on purpose with `pulumi up --replace <urn>`. To get an IPv6 address replaces it, too.
    """
    guarded = args.protect and host.stateful
    return aws.ec2.Instance(
        name,
        instance_type=host.instance_type,
        ami=_image(args.os, opts),
        availability_zone=host.zone,
        subnet_id=args.subnet_id,
        private_ip=str(host.address),
        ipv6_addresses=[args.ipv6.address] if args.ipv6 else None,
        associate_public_ip_address=False,  # no public address of its own
        vpc_security_group_ids=[args.firewall_id],
        key_name=args.key_pair,
        user_data=args.user_data,
        metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
            http_endpoint="enabled",
            http_tokens="required",  # metadata only by session token
        ),
        root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
            volume_type=_DISK, volume_size=host.size.disk_gib, encrypted=True
        ),
        ebs_block_devices=_data_disks(host),
        disable_api_termination=guarded,
        tags=clouds.tags(args.environment, host.name, role=host.role),
        opts=clouds.options(
            opts,
            pulumi.ResourceOptions(
                protect=guarded, ignore_changes=["ami", "user_data", "key_name"]
            ),
        ),
    )


def _data_disks(host: topology.Host) -> list[aws.ec2.InstanceEbsBlockDeviceArgs]:
    if host.size.data_gib is None:
        return []
    return [
        aws.ec2.InstanceEbsBlockDeviceArgs(
            device_name="/dev/sdf",
            volume_type=_DISK,
            volume_size=host.size.data_gib,
            encrypted=True,
        )
    ]


def _image(os: OperatingSystem, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The newest image of the system's own publisher."""
    owner, name = _IMAGES[os]
    found = aws.ec2.get_ami_output(
        owners=[owner],
        filters=[aws.ec2.GetAmiFilterArgs(name="name", values=[name])],
        most_recent=True,
        opts=clouds.lookup(opts),
    )
    return found.id


def public_address(
    name: str,
    environment: str,
    instance: pulumi.CustomResource,
    host: topology.Host,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """An Elastic IP; its bandwidth is the instance's."""
    eip = _eip(name, environment, opts)
    link = aws.ec2.EipAssociation(name, allocation_id=eip.id, instance_id=instance.id, opts=opts)
    return clouds.after(eip.public_ip, link)


def _eip(name: str, environment: str, opts: pulumi.ResourceOptions) -> aws.ec2.Eip:
    return aws.ec2.Eip(name, domain="vpc", tags=clouds.tags(environment, name), opts=opts)


def public_ipv6(
    name: str,
    environment: str,
    instance: pulumi.CustomResource,
    host: topology.Host,
    args: InstanceArgs,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """The address the instance was made with: the network's route is its way to everywhere."""
    ipv6 = clouds.ipv6_of(host, args)
    return clouds.after(ipv6.address, instance)


def zone(name: str, zone: str, create: bool, opts: pulumi.ResourceOptions) -> Zone:
    """A public hosted zone of Route 53."""
    if create:
        made = aws.route53.Zone(name, name=zone, opts=opts)
        return Zone(name=made.name, id=made.zone_id)
    found = aws.route53.get_zone_output(name=zone, private_zone=False, opts=clouds.lookup(opts))
    return Zone(name=zone, id=found.zone_id)


def record(
    name: str,
    zone: Zone,
    label: str,
    kind: RecordKind,
    addresses: Sequence[pulumi.Input[str]],
    ttl: int,
    opts: pulumi.ResourceOptions,
) -> None:
    """One Route 53 record set of all addresses of a kind."""
    aws.route53.Record(
        name,
        zone_id=zone.id,
        name=pulumi.Output.concat(label, ".", zone.name),
        type=kind,
        records=list(addresses),
        ttl=ttl,
        opts=opts,
    )


def dns_credential(
    name: str, environment: str, zone: Zone, opts: pulumi.ResourceOptions
) -> pulumi.Output[Mapping[str, str]]:
    """An IAM user for the challenges in one hosted zone, with its access key."""
    user = aws.iam.User(
        name, name=f"{environment}-{name}", tags=clouds.tags(environment, name), opts=opts
    )
    granted = aws.iam.UserPolicy(
        name,
        name=f"{environment}-{name}",
        user=user.name,
        policy=zone.id.apply(permissions.route53),
        opts=opts,
    )
    key = aws.iam.AccessKey(name, user=user.name, opts=opts)
    variables: dict[str, pulumi.Input[str]] = {
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_HOSTED_ZONE_ID": zone.id,
        "AWS_REGION": "us-east-1",  # where Route 53's one API for all regions is
    }
    return clouds.credential(variables, granted)


def bucket(
    name: str,
    unique_name: str,
    region: str,
    objects: Mapping[str, Path],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """An S3 bucket whose objects a policy opens; it knows no ACLs. The bucket itself cannot be
    listed.
    """
    made = aws.s3.Bucket(name, bucket=unique_name, force_destroy=True, opts=opts)
    opened = aws.s3.BucketPublicAccessBlock(
        name,
        bucket=made.id,
        block_public_acls=True,
        ignore_public_acls=True,
        block_public_policy=False,
        restrict_public_buckets=False,
        opts=opts,
    )
    policy = aws.s3.BucketPolicy(
        name, bucket=clouds.after(made.id, opened), policy=_readable(unique_name), opts=opts
    )
    uploads = [
        aws.s3.BucketObjectv2(
            f"{name}-{path.name}",
            bucket=made.id,
            key=key,
            source=pulumi.FileAsset(str(path)),
            opts=opts,
        )
        for key, path in objects.items()
    ]
    url = f"https://{unique_name}.s3.{region}.amazonaws.com"
    return clouds.after(pulumi.Output.from_input(url), policy, *uploads)


def _readable(bucket_name: str) -> str:
    """The policy by which everyone may fetch an object whose name they know."""
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket_name}/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
