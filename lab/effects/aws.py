"""AWS in the world's words: VPC, EC2, Route 53, IAM, S3.

A subnet is what its route table makes it: with a default route to the internet gateway, public
addresses work; with one to a NAT gateway, its hosts share that gateway's address; without one
they stay inside. Security groups let nothing in or out that no rule allows.
"""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.clouds import aws_names as names
from lab.effects.view import (
    ANYWHERE,
    ANYWHERE6,
    Types,
    View,
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
    Direction,
    Group,
    Network,
    Part,
    Record,
    Rule,
    StoredObject,
    Subnet,
)

ROUTE: Final = "aws:ec2/route:Route"
ROUTE_ASSOCIATION: Final = "aws:ec2/routeTableAssociation:RouteTableAssociation"
INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS: Final = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
RECORD: Final = "aws:route53/record:Record"
BUCKET_POLICY: Final = "aws:s3/bucketPolicy:BucketPolicy"
OBJECT: Final = "aws:s3/bucketObjectv2:BucketObjectv2"
OLD_OBJECT: Final = "aws:s3/bucketObject:BucketObject"
_DEVICES: Final = tuple(f"nvme{number}n1" for number in range(1, 27))
TYPES: Final = Types(
    instance=names.INSTANCE,
    objects=frozenset({OBJECT, OLD_OBJECT}),
    volume=names.VOLUME,
    volume_attachment="aws:ec2/volumeAttachment:VolumeAttachment",
    volume_key="volumeId",
    devices=_DEVICES,
    declared=frozenset(
        {
            names.VPC,
            names.SUBNET,
            names.GATEWAY,
            names.NAT,
            names.ROUTE_TABLE,
            ROUTE,
            ROUTE_ASSOCIATION,
            names.EIP,
            names.ASSOCIATION,
            names.GROUP,
            INGRESS,
            EGRESS,
            names.INSTANCE,
            names.HOSTED_ZONE,
            names.USER_POLICY,
            names.ACCESS_KEY,
            RECORD,
            names.BUCKET,
            names.BLOCK,
            BUCKET_POLICY,
            OBJECT,
            OLD_OBJECT,
        }
    ),
)


def part(view: View) -> Part:
    """Everything this cloud declares."""
    return Part(
        networks=tuple(_network(view, vpc) for vpc in view.all(names.VPC)),
        zones=tuple(str(zone.outputs["name"]).rstrip(".") for zone in view.all(names.HOSTED_ZONE)),
        records=tuple(record for found in view.all(RECORD) for record in _records(view, found)),
        buckets=tuple(_bucket(view, bucket) for bucket in view.all(names.BUCKET)),
        zone_ids={
            str(zone.outputs["name"]).rstrip("."): zone.id for zone in view.all(names.HOSTED_ZONE)
        },
        access_keys=tuple(_access_key(view, key) for key in view.all(names.ACCESS_KEY)),
    )


def label(instance: Resource) -> str:
    """What the lab calls the host."""
    tags = instance.inputs.get("tags") or {}
    return host_name(tags.get("Name"), instance.name)


def host(view: View, instance: Resource) -> HostSpec:
    """The host to build; `instance` still has its secrets."""
    given = instance.inputs
    sizes = [entry["volumeSize"] for entry in given.get("ebsBlockDevices") or []]
    keys = [visible(key, "publicKey") for key in view.all(names.KEY_PAIR) if _opens(key, instance)]
    return HostSpec(
        name=view.host_names[instance.id],
        label=label(instance),
        instance_id=instance.id,
        hostname=str(instance.outputs["privateDns"]).partition(".")[0],
        user_data=_user_data(given),
        public_keys=tuple(keys),
        login="admin",
        disks=tuple(
            Disk(id=f"data-{index}", device=_DEVICES[index], gigabytes=int(size))
            for index, size in enumerate(sizes)
        ),
    )


def _opens(key: Resource, instance: Resource) -> bool:
    return bool(key.id) and key.id == instance.inputs.get("keyName")


def _user_data(given: Mapping[str, Any]) -> bytes:
    if given.get("userDataBase64"):
        return base64.b64decode(given["userDataBase64"])
    return str(given.get("userData") or "").encode()


# Networks


def _network(view: View, vpc: Resource) -> Network:
    groups = view.of(names.GROUP, "vpcId", vpc.id)
    places = (i for i in view.all(names.INSTANCE) if _vpc_of(view, i) == vpc.id)
    return Network(
        id=f"aws-{vpc.id}",
        cidrs=(vpc.outputs["cidrBlock"],),
        subnets=tuple(
            _subnet(view, vpc, found) for found in view.of(names.SUBNET, "vpcId", vpc.id)
        ),
        groups=(_default_group(view, vpc), *(_group(view, group) for group in groups)),
        attachments=tuple(_attachment(view, vpc, instance) for instance in places),
    )


def _vpc_of(view: View, instance: Resource) -> Any:
    subnet = view.get(names.SUBNET, instance.outputs["subnetId"])
    return subnet.outputs["vpcId"] if subnet else None


def _subnet(view: View, vpc: Resource, subnet: Resource) -> Subnet:
    cidr = ipaddress.IPv4Network(subnet.outputs["cidrBlock"])
    way = _route(view, vpc, subnet, "destinationCidrBlock", "cidrBlock", ANYWHERE)
    return Subnet(
        id=subnet.id,
        cidr=str(cidr),
        gateway=str(cidr.network_address + 1),
        nat=_nat(view, vpc, way.get("natGatewayId")),
        direct=_is_direct(view, vpc, way),
        ipv6=subnet.outputs.get("ipv6CidrBlock") or None,
    )


def _route(
    view: View, vpc: Resource, subnet: Resource, apart: str, inline: str, to: str
) -> Mapping[str, Any]:
    """A subnet's route to a range, which its table or a resource of its own calls so."""
    linked = view.of(ROUTE_ASSOCIATION, "subnetId", subnet.id)
    table = linked[-1].outputs["routeTableId"] if linked else vpc.outputs["mainRouteTableId"]
    ways = [route.outputs for route in view.of(ROUTE, "routeTableId", table)]
    ways = [way | {inline: way.get(apart)} for way in map(dict, ways)]
    own = view.get(names.ROUTE_TABLE, table)
    ways += [dict(way) for way in (own.outputs.get("routes") or ())] if own else []
    return next((way for way in ways if way.get(inline) == to), {})


def _is_direct(view: View, vpc: Resource, way: Mapping[str, Any]) -> bool:
    gateway = view.get(names.GATEWAY, way.get("gatewayId"))
    return gateway is not None and gateway.outputs.get("vpcId") == vpc.id


def _nat(view: View, vpc: Resource, id: Any) -> str | None:
    """A NAT gateway's address; it works only where its own subnet leads to the internet."""
    gateway = view.get(names.NAT, id)
    subnet = view.get(names.SUBNET, gateway.outputs.get("subnetId")) if gateway else None
    if gateway is None or subnet is None:
        return None
    way = _route(view, vpc, subnet, "destinationCidrBlock", "cidrBlock", ANYWHERE)
    if not _is_direct(view, vpc, way):
        return None
    eip = view.get(names.EIP, gateway.outputs.get("allocationId"))
    return str(eip.outputs["publicIp"]) if eip else None


def _attachment(view: View, vpc: Resource, instance: Resource) -> Attachment:
    groups = instance.outputs.get("vpcSecurityGroupIds") or [vpc.outputs["defaultSecurityGroupId"]]
    subnet = view.get(names.SUBNET, instance.outputs["subnetId"])
    way: Mapping[str, Any] = {}
    if subnet is not None:
        columns = ("destinationIpv6CidrBlock", "ipv6CidrBlock", ANYWHERE6)
        way = _route(view, vpc, subnet, *columns)
    return Attachment(
        host=view.host_names[instance.id],
        subnet=instance.outputs["subnetId"],
        address=instance.outputs["privateIp"],
        groups=tuple(groups),
        public=_public(view, instance),
        ipv6=next(iter(instance.outputs.get("ipv6Addresses") or ()), None),
        ipv6_open=_is_direct(view, vpc, way),
        interface="ens5",
    )


def _public(view: View, instance: Resource) -> str | None:
    links = view.of(names.ASSOCIATION, "instanceId", instance.id)
    owned = [view.get(names.EIP, link.outputs.get("allocationId")) for link in links]
    for eip in (*owned, *view.of(names.EIP, "instance", instance.id)):
        if eip is not None:
            return str(eip.outputs["publicIp"])
    return instance.outputs.get("publicIp") or None


def _default_group(view: View, vpc: Resource) -> Group:
    """What a host without groups gets: its members talk to each other and to everyone."""
    id = vpc.outputs["defaultSecurityGroupId"]
    out = (Rule(direction="out"), Rule(direction="out", peer=ANYWHERE6))
    own = (Rule(direction="in", peer=f"group:{id}"), *out)
    return Group(id=id, rules=(*own, *_apart(view, id)))


def _group(view: View, group: Resource) -> Group:
    inline: list[Rule] = []
    for key, direction in _SIDES:
        for rule in group.outputs.get(key) or ():
            inline += _inline(group, rule, direction)
    return Group(id=group.id, rules=(*inline, *_apart(view, group.id)))


_SIDES: Final[tuple[tuple[str, Direction], ...]] = (("ingress", "in"), ("egress", "out"))
_APART: Final[tuple[tuple[str, Direction], ...]] = ((INGRESS, "in"), (EGRESS, "out"))


def _inline(group: Resource, rule: Mapping[str, Any], direction: Direction) -> Iterator[Rule]:
    peers = [*(rule.get("cidrBlocks") or ()), *(rule.get("ipv6CidrBlocks") or ())]
    peers += [f"group:{other}" for other in rule.get("securityGroups") or ()]
    peers += [f"group:{group.id}"] if is_on(rule.get("self")) else []
    for whom in peers:
        yield _rule(direction, str(rule["protocol"]), rule, whom)


def _apart(view: View, group: str) -> Iterator[Rule]:
    """The rules that are resources of their own."""
    for type, direction in _APART:
        for found in view.of(type, "securityGroupId", group):
            given = found.outputs
            source = given.get("referencedSecurityGroupId")
            whom = peer(found.name, source, given.get("cidrIpv4"), given.get("cidrIpv6"))
            yield _rule(direction, str(given["ipProtocol"]), given, whom)


def _rule(direction: Direction, protocol: str, given: Mapping[str, Any], whom: str) -> Rule:
    ported = protocol.lower() in {"tcp", "udp", "6", "17"}
    return Rule(
        direction=direction,
        protocol=_PROTOCOLS.get(protocol.lower(), protocol.lower()),
        ports=(int(given["fromPort"]), int(given["toPort"])) if ported else None,
        peer=whom,
    )


_PROTOCOLS: Final = {"-1": "all", "6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}


# Keys


def _access_key(view: View, key: Resource) -> AccessKey:
    user = str(key.outputs["user"])
    policies = view.of(names.USER_POLICY, "user", user)
    return AccessKey(
        id=key.id,
        secret=str(key.outputs["secret"]),
        user=user,
        account=ACCOUNT,
        policies=tuple(visible(found, "policy") for found in policies),
        active=key.outputs["status"] == "Active",
    )


# Names and buckets


def _records(view: View, found: Resource) -> list[Record]:
    zone = view.get(names.HOSTED_ZONE, found.outputs["zoneId"])
    if zone is None:
        return []
    domain = str(zone.outputs["name"]).rstrip(".")
    label = found.outputs["fqdn"].removesuffix(domain).rstrip(".")
    kind, ttl = found.outputs["type"], found.outputs.get("ttl") or 300
    values = [_unquoted(value) for value in found.outputs.get("records") or ()]
    return records(domain, label, kind, values, ttl)


def _unquoted(value: str) -> str:
    """Route 53 takes TXT as quoted strings, long ones in several."""
    return value.strip('"').replace('" "', "").replace('""', "").replace('\\"', '"')


def _bucket(view: View, bucket: Resource) -> Bucket:
    statements = [s for found in view.of(BUCKET_POLICY, "bucket", bucket.id) for s in _open(found)]
    if _blocks(view, bucket, "restrictPublicBuckets"):
        statements = []
    every = view.of(OBJECT, "bucket", bucket.id) + view.of(OLD_OBJECT, "bucket", bucket.id)
    found = [each for each in every if each.id in view.digests]
    acls = not _blocks(view, bucket, "ignorePublicAcls")
    return Bucket(
        name=bucket.id,
        public=any("s3:ListBucket" in _list(s["Action"]) for s in statements),
        endpoints=(
            bucket.outputs["bucketRegionalDomainName"],
            bucket.outputs["bucketDomainName"],
        ),
        objects=tuple(_object(view, bucket, each, statements, acls) for each in found),
    )


def _object(
    view: View, bucket: Resource, found: Resource, statements: list[Mapping[str, Any]], acls: bool
) -> StoredObject:
    key = found.outputs["key"]
    arn = f"arn:aws:s3:::{bucket.id}/{key}"
    public = any(_lets_read(statement, arn) for statement in statements)
    return StoredObject(
        key=key,
        digest=view.digests[found.id],
        content_type=found.outputs.get("contentType") or "application/octet-stream",
        public=public or (acls and is_public(found.outputs.get("acl"))),
    )


def _blocks(view: View, bucket: Resource, setting: str) -> bool:
    """A bucket without a public access block of its own blocks everything."""
    blocks = view.of(names.BLOCK, "bucket", bucket.id)
    return is_on(blocks[-1].outputs.get(setting)) if blocks else True


def _open(policy: Resource) -> list[Mapping[str, Any]]:
    """The statements of a policy that allow something to everyone without conditions."""
    found = _list(json.loads(policy.outputs["policy"]).get("Statement"))
    everyone = ("*", {"AWS": "*"}, {"AWS": ["*"]})
    return [
        statement
        for statement in found
        if statement.get("Effect") == "Allow"
        and statement.get("Principal") in everyone
        and not statement.get("Condition")
    ]


def _lets_read(statement: Mapping[str, Any], arn: str) -> bool:
    actions = any(fnmatch.fnmatchcase("s3:GetObject", a) for a in _list(statement.get("Action")))
    return actions and any(fnmatch.fnmatchcase(arn, r) for r in _list(statement.get("Resource")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
