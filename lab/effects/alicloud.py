"""Alibaba Cloud in the world's words: VPC, ECS, Alidns, RAM, OSS.

A subnet's hosts leave by their own EIP or else by the NAT gateway's SNAT entry. An IPv6 address is
good for the VPC, and with bandwidth of the IPv6 gateway for the internet. A basic security group
lets its members talk to each other and lets everything out, unless a rule says otherwise; an
advanced ("enterprise") one does neither.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from lab.clouds import alicloud_names as names
from lab.effects.view import (
    ANYWHERE,
    ANYWHERE6,
    Types,
    View,
    decoded,
    host_name,
    is_on,
    is_public,
    peer,
    records,
    visible,
)
from lab.outputs import ACCOUNT
from lab.resource import Resource
from lab.world.host import Disk, HostSpec
from lab.world.model import (
    AccessKey,
    Attachment,
    Bucket,
    Group,
    Network,
    Part,
    Rule,
    StoredObject,
    Subnet,
)

BUCKET_ACL: Final = "alicloud:oss/bucketAcl:BucketAcl"
OBJECT: Final = "alicloud:oss/bucketObject:BucketObject"
_DEVICES: Final = tuple(f"vd{letter}" for letter in "bcdefghijklmnopq")
TYPES: Final = Types(
    instance=names.INSTANCE,
    objects=frozenset({OBJECT}),
    volume=names.DISK,
    volume_attachment="alicloud:ecs/ecsDiskAttachment:EcsDiskAttachment",
    volume_key="diskId",
    devices=_DEVICES,
    declared=frozenset(
        {
            names.VPC,
            names.SWITCH,
            names.NAT,
            names.SNAT,
            names.IPV6_ADDRESS,
            names.IPV6_BANDWIDTH,
            names.EIP,
            names.ASSOCIATION,
            names.GROUP,
            names.RULE,
            names.INSTANCE,
            names.RECORD,
            names.POLICY,
            names.POLICY_ATTACHMENT,
            names.ACCESS_KEY,
            names.BUCKET,
            BUCKET_ACL,
            names.BLOCK,
            OBJECT,
        }
    ),
)
_AFTER_RULES: Final = 101  # rules have priorities from 1 to 100


def part(view: View) -> Part:
    """Everything this cloud declares."""
    return Part(
        networks=tuple(_network(view, vpc) for vpc in view.all(names.VPC)),
        records=tuple(
            record
            for found in view.all(names.RECORD)
            for record in records(
                found.outputs["domainName"],
                found.outputs["rr"],
                found.outputs["type"],
                [visible(found, "value")],
                found.outputs["ttl"],
                found.outputs.get("priority"),
            )
        ),
        buckets=tuple(_bucket(view, bucket) for bucket in view.all(names.BUCKET)),
        zone_ids={
            str(found.outputs["domainName"]): names.domain_id(found.outputs["domainName"])
            for found in view.all(names.RECORD)
        },
        access_keys=tuple(_access_key(view, key) for key in view.all(names.ACCESS_KEY)),
    )


def label(instance: Resource) -> str:
    """What the lab calls the host."""
    given = instance.inputs
    return host_name(given.get("hostName"), given.get("instanceName"), instance.name)


def host(view: View, instance: Resource) -> HostSpec:
    """The host to build; `instance` still has its secrets."""
    name = view.host_names[instance.id]
    sizes = [entry["size"] for entry in instance.inputs.get("dataDisks") or []]
    keys = [visible(key, "publicKey") for key in view.all(names.KEY_PAIR) if _opens(key, instance)]
    return HostSpec(
        name=name,
        label=label(instance),
        instance_id=instance.id,
        hostname=str(instance.inputs.get("hostName") or name),
        user_data=decoded(instance.inputs.get("userData") or ""),
        public_keys=tuple(keys),
        login="root",
        disks=tuple(
            Disk(id=f"data-{index}", device=_DEVICES[index], gigabytes=int(size))
            for index, size in enumerate(sizes)
        ),
    )


def _opens(key: Resource, instance: Resource) -> bool:
    return bool(key.id) and key.id == instance.inputs.get("keyName")


# Networks


def _network(view: View, vpc: Resource) -> Network:
    return Network(
        id=f"alicloud-{vpc.id}",
        cidrs=(vpc.outputs["cidrBlock"],),
        subnets=tuple(_subnet(view, switch) for switch in view.of(names.SWITCH, "vpcId", vpc.id)),
        groups=tuple(_group(view, group) for group in view.of(names.GROUP, "vpcId", vpc.id)),
        attachments=tuple(
            _attachment(view, instance) for instance in view.of(names.INSTANCE, "vpcId", vpc.id)
        ),
    )


def _subnet(view: View, switch: Resource) -> Subnet:
    cidr = ipaddress.IPv4Network(switch.outputs["cidrBlock"])
    gateway = cidr.broadcast_address - 2  # the third address from the end
    return Subnet(
        id=switch.id,
        cidr=str(cidr),
        gateway=str(gateway),
        nat=_nat(view, switch),
        ipv6=switch.outputs.get("ipv6CidrBlock") or None,
    )


def _nat(view: View, switch: Resource) -> str | None:
    """The address of the SNAT entry that covers a switch."""
    cidr = ipaddress.IPv4Network(switch.outputs["cidrBlock"])
    for entry in view.all(names.SNAT):
        source = entry.outputs.get("sourceCidr")
        gateway = next(iter(view.of(names.NAT, "snatTableIds", entry.outputs["snatTableId"])), None)
        here = gateway is not None and gateway.outputs["vpcId"] == switch.outputs["vpcId"]
        covers = here and source and cidr.subnet_of(ipaddress.IPv4Network(source))
        if covers or entry.outputs.get("sourceVswitchId") == switch.id:
            return str(entry.outputs["snatIp"]).split(",")[0]
    return None


def _attachment(view: View, instance: Resource) -> Attachment:
    ipv6 = next(iter(instance.outputs.get("ipv6Addresses") or ()), None)
    return Attachment(
        host=view.host_names[instance.id],
        subnet=instance.outputs["vswitchId"],
        address=instance.outputs["privateIp"],
        groups=tuple(instance.outputs.get("securityGroups") or ()),
        public=_public(view, instance),
        ipv6=ipv6,
        ipv6_open=any(
            view.of(names.IPV6_BANDWIDTH, "ipv6AddressId", kept.id)
            for kept in view.of(names.IPV6_ADDRESS, "ipv6Address", ipv6)
        ),
    )


def _public(view: View, instance: Resource) -> str | None:
    for link in view.of(names.ASSOCIATION, "instanceId", instance.id):
        if eip := view.get(names.EIP, link.outputs["allocationId"]):
            return str(eip.outputs["ipAddress"])
    return instance.outputs.get("publicIp") or None


def _group(view: View, group: Resource) -> Group:
    rules = [_rule(rule) for rule in view.of(names.RULE, "securityGroupId", group.id)]
    return Group(id=group.id, rules=(*rules, *_defaults(group)))


def _defaults(group: Resource) -> Iterator[Rule]:
    given = group.outputs
    if given.get("securityGroupType") == "enterprise":
        return
    for everyone in (ANYWHERE, ANYWHERE6):
        yield Rule(direction="out", peer=everyone, priority=_AFTER_RULES)
    if (
        given.get("innerAccessPolicy", "Accept") == "Accept"
        and given.get("innerAccess") is not False
    ):
        yield Rule(direction="in", peer=f"group:{group.id}", priority=_AFTER_RULES)


def _rule(rule: Resource) -> Rule:
    given = rule.outputs
    first, _, last = str(given.get("portRange") or "-1/-1").partition("/")
    source = given.get("sourceSecurityGroupId")
    return Rule(
        direction="in" if given["type"] == "ingress" else "out",
        protocol=given["ipProtocol"],
        ports=None if first == "-1" else (int(first), int(last)),
        peer=peer(rule.name, source, given.get("cidrIp"), given.get("ipv6CidrIp")),
        allow=given.get("policy", "accept") == "accept",
        priority=int(given.get("priority") or 1),
    )


# Keys


def _access_key(view: View, key: Resource) -> AccessKey:
    user = str(key.outputs["userName"])
    granted = view.of(names.POLICY_ATTACHMENT, "userName", user)
    policies = [view.get(names.POLICY, found.outputs["policyName"]) for found in granted]
    return AccessKey(
        id=key.id,
        secret=str(key.outputs["secret"]),
        user=user,
        account=ACCOUNT,
        policies=tuple(visible(found, "policyDocument") for found in policies if found),
        active=key.outputs["status"] == "Active",
    )


# Buckets


def _bucket(view: View, bucket: Resource) -> Bucket:
    blocked = any(
        is_on(block.outputs.get("blockPublicAccess"))
        for block in view.of(names.BLOCK, "bucket", bucket.id)
    )
    acls = [found.outputs["acl"] for found in view.of(BUCKET_ACL, "bucket", bucket.id)]
    public = is_public(acls[-1] if acls else bucket.outputs.get("acl")) and not blocked
    return Bucket(
        name=bucket.id,
        public=public,
        endpoints=(f"{bucket.id}.{bucket.outputs['extranetEndpoint']}",),
        internal_endpoints=(f"{bucket.id}.{bucket.outputs['intranetEndpoint']}",),
        objects=tuple(
            _object(view, found, public, blocked)
            for found in view.of(OBJECT, "bucket", bucket.id)
            if found.id in view.digests
        ),
    )


def _object(view: View, found: Resource, bucket_public: bool, blocked: bool) -> StoredObject:
    acl = found.outputs.get("acl") or "default"
    public = bucket_public if acl == "default" else is_public(acl) and not blocked
    kind = found.outputs.get("contentType") or "application/octet-stream"
    key, digest = found.outputs["key"], view.digests[found.id]
    return StoredObject(key=key, digest=digest, content_type=kind, public=public)
