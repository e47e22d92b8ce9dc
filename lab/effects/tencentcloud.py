"""Tencent Cloud in the world's words: VPC, CVM, DNSPod, CAM, COS.

A subnet's hosts leave by their own EIP or else by the NAT gateway in their route table. Security
groups are consulted one after another and each rule in its order; nothing passes by default,
inwards or outwards.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.clouds import tencent_names as names
from lab.effects.view import (
    ANYWHERE,
    Types,
    View,
    decoded,
    host_name,
    is_public,
    peer,
    records,
    visible,
)
from lab.resource import Resource
from lab.world.host import Disk, HostSpec
from lab.world.model import (
    AccessKey,
    Attachment,
    Bucket,
    Direction,
    Group,
    Network,
    Part,
    Rule,
    StoredObject,
    Subnet,
)

ROUTE: Final = "tencentcloud:Route/tableEntry:TableEntry"
ROUTE_ASSOCIATION: Final = "tencentcloud:Route/tableAssociation:TableAssociation"
OBJECT: Final = "tencentcloud:Cos/bucketObject:BucketObject"
_DEVICES: Final = tuple(f"vd{letter}" for letter in "bcdefghijklmnopq")
TYPES: Final = Types(
    instance=names.INSTANCE,
    objects=frozenset({OBJECT}),
    volume=names.DISK,
    volume_attachment="tencentcloud:Cbs/storageAttachment:StorageAttachment",
    volume_key="storageId",
    devices=_DEVICES,
    declared=frozenset(
        {
            names.VPC,
            names.SUBNET,
            names.NAT,
            names.ROUTE_TABLE,
            ROUTE,
            ROUTE_ASSOCIATION,
            names.IPV6_SUBNET,
            names.IPV6_ADDRESS,
            names.IPV6_BANDWIDTH,
            names.EIP,
            names.ASSOCIATION,
            names.GROUP,
            names.RULE_SET,
            names.INSTANCE,
            names.RECORD,
            names.USER,
            names.POLICY,
            names.POLICY_ATTACHMENT,
            names.ACCESS_KEY,
            names.BUCKET,
            OBJECT,
        }
    ),
)


def part(view: View) -> Part:
    """Everything this cloud declares."""
    return Part(
        networks=tuple(_network(view, vpc) for vpc in view.all(names.VPC)),
        records=tuple(
            record
            for found in view.all(names.RECORD)
            for record in records(
                found.outputs["domain"],
                found.outputs.get("subDomain") or "@",
                found.outputs["recordType"],
                [visible(found, "value")],
                found.outputs["ttl"],
                found.outputs.get("mx"),
            )
        ),
        buckets=tuple(_bucket(view, bucket) for bucket in view.all(names.BUCKET)),
        zone_ids={
            str(found.outputs["domain"]): str(names.domain_id(found.outputs["domain"]))
            for found in view.all(names.RECORD)
        },
        access_keys=tuple(_access_keys(view)),
    )


def label(instance: Resource) -> str:
    """What the lab calls the host."""
    given = instance.inputs
    return host_name(given.get("hostname"), given.get("instanceName"), instance.name)


def host(view: View, instance: Resource) -> HostSpec:
    """The host to build; `instance` still has its secrets."""
    name = view.host_names[instance.id]
    sizes = [entry["dataDiskSize"] for entry in instance.inputs.get("dataDisks") or []]
    keys = [visible(key, "publicKey") for key in view.all(names.KEY_PAIR) if _opens(key, instance)]
    raw = instance.inputs.get("userDataRaw")
    return HostSpec(
        name=name,
        label=label(instance),
        instance_id=instance.id,
        hostname=str(instance.inputs.get("hostname") or name),
        user_data=raw.encode() if raw else decoded(instance.inputs.get("userData") or ""),
        public_keys=tuple(keys),
        login="root",
        disks=tuple(
            Disk(id=f"data-{index}", device=_DEVICES[index], gigabytes=int(size))
            for index, size in enumerate(sizes)
        ),
    )


def _opens(key: Resource, instance: Resource) -> bool:
    given = instance.inputs
    return key.id in {given.get("keyName"), *(given.get("keyIds") or ())}


# Networks


def _network(view: View, vpc: Resource) -> Network:
    places = view.of(names.INSTANCE, "vpcId", vpc.id)
    return Network(
        id=f"tencentcloud-{vpc.id}",
        cidrs=(vpc.outputs["cidrBlock"],),
        subnets=tuple(
            _subnet(view, vpc, found) for found in view.of(names.SUBNET, "vpcId", vpc.id)
        ),
        groups=tuple(_group(view, group) for group in view.all(names.GROUP)),  # they span networks
        attachments=tuple(_attachment(view, instance) for instance in places),
        first_group_wins=True,
    )


def _subnet(view: View, vpc: Resource, subnet: Resource) -> Subnet:
    cidr = ipaddress.IPv4Network(subnet.outputs["cidrBlock"])
    nat = _nat(view, vpc, subnet)
    parts = [found.outputs["ipv6SubnetCidrBlocks"] for found in view.all(names.IPV6_SUBNET)]
    own = (part["ipv6CidrBlock"] for part in parts if part["subnetId"] == subnet.id)
    return Subnet(
        id=subnet.id,
        cidr=str(cidr),
        gateway=str(cidr.network_address + 1),
        nat=nat,
        ipv6=next(own, None),
    )


def _nat(view: View, vpc: Resource, subnet: Resource) -> str | None:
    """The address of the NAT gateway that a subnet's default route leads to."""
    linked = [
        found.outputs["routeTableId"] for found in view.of(ROUTE_ASSOCIATION, "subnetId", subnet.id)
    ]
    own = subnet.outputs.get("routeTableId") or vpc.outputs.get("defaultRouteTableId")
    table = linked[-1] if linked else own
    for route in view.of(ROUTE, "routeTableId", table):
        to, kind = route.outputs["destinationCidrBlock"], route.outputs["nextType"]
        gateway = view.get(names.NAT, route.outputs["nextHub"])
        if to == ANYWHERE and kind == "NAT" and gateway is not None:
            addresses = gateway.outputs.get("assignedEipSets") or []
            return str(addresses[0]) if addresses else None
    return None


def _attachment(view: View, instance: Resource) -> Attachment:
    given = instance.outputs
    groups = given.get("orderlySecurityGroups") or given.get("securityGroups") or ()
    card = view.of(names.IPV6_ADDRESS, "networkInterfaceId", names.interface(instance.id))
    assigned = [entry["address"] for found in card for entry in found.outputs["ipv6Addresses"]]
    ipv6 = assigned[0] if assigned else None
    return Attachment(
        host=view.host_names[instance.id],
        subnet=given["subnetId"],
        address=given["privateIp"],
        groups=tuple(groups),
        public=_public(view, instance),
        ipv6=ipv6,
        ipv6_open=bool(view.of(names.IPV6_BANDWIDTH, "ip6Address", ipv6)),
    )


def _public(view: View, instance: Resource) -> str | None:
    for link in view.of(names.ASSOCIATION, "instanceId", instance.id):
        if eip := view.get(names.EIP, link.outputs["eipId"]):
            return str(eip.outputs["publicIp"])
    return instance.outputs.get("publicIp") or None


def _group(view: View, group: Resource) -> Group:
    rules: list[Rule] = []
    for found in view.of(names.RULE_SET, "securityGroupId", group.id):
        for index, rule in enumerate(found.outputs.get("ingresses") or ()):
            rules += _rules(group.name, rule, "in", index)
        for index, rule in enumerate(found.outputs.get("egresses") or ()):
            rules += _rules(group.name, rule, "out", index)
    return Group(id=group.id, rules=tuple(rules))


def _rules(name: str, rule: Mapping[str, Any], direction: Direction, index: int) -> Iterator[Rule]:
    """One rule for each of its ranges of ports."""
    source = rule.get("sourceSecurityId")
    for ports in _ports(str(rule.get("port") or "ALL")):
        yield Rule(
            direction=direction,
            protocol=str(rule.get("protocol") or "ALL").lower(),
            ports=ports,
            peer=peer(name, source, rule.get("cidrBlock"), rule.get("ipv6CidrBlock")),
            allow=rule["action"] == "ACCEPT",
            priority=index,
        )


def _ports(text: str) -> Iterator[tuple[int, int] | None]:
    """Of "ALL", "80", "80-90" or "80,443"."""
    if text.upper() == "ALL":
        yield None
        return
    for range_ in text.split(","):
        first, _, last = range_.partition("-")
        yield int(first), int(last or first)


# Keys


def _access_keys(view: View) -> Iterator[AccessKey]:
    for key in view.all(names.ACCESS_KEY):
        for user in view.of(names.USER, "uin", key.outputs["targetUin"]):
            granted = view.of(names.POLICY_ATTACHMENT, "userName", user.id)
            policies = [view.get(names.POLICY, found.outputs["policyId"]) for found in granted]
            yield AccessKey(
                id=str(key.outputs["accessKey"]),
                secret=str(key.outputs["secretAccessKey"]),
                user=user.id,
                account=names.ACCOUNT,
                policies=tuple(visible(found, "document") for found in policies if found),
                active=key.outputs["status"] == "Active",
            )


# Buckets


def _bucket(view: View, bucket: Resource) -> Bucket:
    public = is_public(bucket.outputs.get("acl"))
    endpoint = f"{bucket.id}.cos.{bucket.region}.myqcloud.com"
    return Bucket(
        name=bucket.id,
        public=public,
        endpoints=(endpoint,),
        objects=tuple(
            _object(view, found, public)
            for found in view.of(OBJECT, "bucket", bucket.id)
            if found.id in view.digests
        ),
    )


def _object(view: View, found: Resource, bucket_public: bool) -> StoredObject:
    acl = found.outputs.get("acl") or "default"
    public = bucket_public if acl == "default" else is_public(acl)
    kind = found.outputs.get("contentType") or "application/octet-stream"
    key, digest = found.outputs["key"], view.digests[found.id]
    return StoredObject(key=key, digest=digest, content_type=kind, public=public)
