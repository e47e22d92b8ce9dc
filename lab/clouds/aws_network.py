"""EC2 networks and firewalls: VPC, subnet, gateway, routes, security groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import aws_names as names
from lab.clouds import common, ipv6, network
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, pick, prefixed, random_hex

_PROTOCOLS: Final = {"tcp", "udp", "icmp", "icmpv6", "-1", "all"}


def _vpc_outputs(request: Request, id: str) -> Mapping[str, Any]:
    table = f"rtb-0{random_hex(16)}"
    return {
        "defaultSecurityGroupId": f"sg-0{random_hex(16)}",
        "defaultRouteTableId": table,
        "mainRouteTableId": table,
        "defaultNetworkAclId": f"acl-0{random_hex(16)}",
        "dhcpOptionsId": f"dopt-0{random_hex(16)}",
    }


def _vpc_range(request: Request, id: str) -> Mapping[str, Any]:
    if not request.inputs.get("assignGeneratedIpv6CidrBlock"):
        return {"ipv6CidrBlock": "", "ipv6AssociationId": ""}
    block = ipv6.block(request, id, names.FIRST_IPV6)
    return {"ipv6CidrBlock": block, "ipv6AssociationId": f"vpc-cidr-assoc-{id[5:]}"}


def _vpc_range_is_unused(request: Request) -> Iterator[CloudError]:
    """A network keeps its range while a subnet has a part of it."""
    if request.inputs.get("assignGeneratedIpv6CidrBlock"):
        return
    for subnet in request.others(names.SUBNET):
        if subnet.inputs.get("vpcId") == request.id and subnet.inputs.get("ipv6CidrBlock"):
            text = f"{subnet.name!r} ({subnet.id}) has {subnet.inputs['ipv6CidrBlock']} of it"
            yield CloudError("InvalidCidrBlock.InUse", text, "assignGeneratedIpv6CidrBlock")


def _subnet_range(request: Request) -> Iterator[CloudError]:
    own, vpc = request.inputs.get("ipv6CidrBlock"), request.named("vpcId")
    if not own or vpc is None:
        return
    others = [
        other.inputs.get("ipv6CidrBlock")
        for other in request.others()
        if other.inputs.get("vpcId") == vpc.id
    ]
    if reason := ipv6.bad_part(str(own), vpc.outputs.get("ipv6CidrBlock"), others):
        yield CloudError("InvalidSubnet.Range", reason, "ipv6CidrBlock")


def _one_gateway(request: Request) -> Iterator[CloudError]:
    for other in request.others():
        if request.inputs.get("vpcId") and other.inputs.get("vpcId") == request.inputs["vpcId"]:
            text = f"{request.inputs['vpcId']} already has {other.name!r} ({other.id})"
            yield CloudError("Resource.AlreadyAssociated", text, "vpcId")


def _route_target(request: Request) -> Iterator[CloudError]:
    """A route leads to a gateway of its own network."""
    table = request.named("routeTableId")
    vpc = table.inputs.get("vpcId", table.id) if table else None
    for property in ("gatewayId", "natGatewayId"):
        target = request.named(property)
        if target is None:
            continue
        subnet = request.store.get("aws", names.SUBNET, str(target.inputs.get("subnetId")))
        theirs = subnet.inputs["vpcId"] if subnet else target.inputs.get("vpcId")
        if theirs != vpc:
            text = f"{target.id} is not attached to {vpc}"
            yield CloudError("InvalidParameterValue", text, property)


def _association_network(request: Request) -> Iterator[CloudError]:
    table, subnet = request.named("routeTableId"), request.named("subnetId")
    if table is None or subnet is None:
        return
    if table.inputs.get("vpcId", table.id) != subnet.inputs["vpcId"]:
        text = f"{table.id} and {subnet.id} belong to different networks"
        yield CloudError("InvalidParameterValue", text, "routeTableId")
    for other in request.others():
        if other.inputs.get("subnetId") == subnet.id:
            text = f"{subnet.id} already has {other.inputs['routeTableId']}"
            yield CloudError("Resource.AlreadyAssociated", text, "subnetId")


def _subnet_outputs(request: Request, id: str) -> Mapping[str, Any]:
    zone = request.inputs.get("availabilityZone") or names.ZONES[request.region][0]
    return {"availabilityZone": zone}


# Firewalls


def _rule_ports(request: Request) -> Iterator[Problem]:
    if common.is_known(request, "ipProtocol", "fromPort", "toPort"):
        yield from _ports(request.inputs, "ipProtocol", "")


def _group_ports(request: Request) -> Iterator[Problem]:
    for side in ("ingress", "egress"):
        for path, rule in pick(request.inputs, f"{side}[]"):
            if not isinstance(rule, Mapping):
                continue
            yield from _ports(rule, "protocol", f"{path}.")
            for where, text in pick(rule, "cidrBlocks[]"):
                if reason := network.bad_range(str(text)):
                    yield Problem(f"{path}.{where}", reason)


def _ports(rule: Mapping[str, Any], protocol: str, prefix: str) -> Iterator[Problem]:
    kind = str(rule.get(protocol)).lower()
    if kind not in _PROTOCOLS and not kind.isdecimal():
        known = ", ".join(sorted(_PROTOCOLS))
        yield Problem(f"{prefix}{protocol}", f"{kind!r} is not one of {known} or a number")
    first, last = rule.get("fromPort"), rule.get("toPort")
    if kind in {"tcp", "udp"}:
        reason = network.port_numbers(first, last)
        if reason:
            yield Problem(f"{prefix}fromPort", reason)
    elif kind in {"-1", "all"} and (first or last):
        yield Problem(f"{prefix}fromPort", "the protocol -1 means every port; give none")


def _group_name(request: Request) -> Iterator[CloudError]:
    name, vpc = request.inputs.get("name"), request.inputs.get("vpcId")
    for other in request.others():
        if other.inputs.get("name") == name and other.inputs.get("vpcId") == vpc:
            text = f"{name!r} is taken in {vpc} by {other.id}"
            yield CloudError("InvalidGroup.Duplicate", text, "name")


_RULE: Final = TypeRules(
    id=prefixed("sgr-0", random_hex, 16),
    replace=frozenset({"securityGroupId"}),
    refs=(
        Ref("securityGroupId", names.GROUPS, on_delete="cascade"),
        Ref("referencedSecurityGroupId", names.GROUPS),
    ),
    checks=(
        _rule_ports,
        network.any_cidr("cidrIpv4"),
        network.any_cidr("cidrIpv6", version=6),
        network.exactly_one("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId"),
    ),
    demands=(
        common.not_twice(
            (
                "securityGroupId",
                "fromPort",
                "toPort",
                "cidrIpv4",
                "cidrIpv6",
                "referencedSecurityGroupId",
                "ipProtocol",
            ),
            "InvalidPermission.Duplicate",
        ),
    ),
)

TYPES: Final[Mapping[str, TypeRules]] = {
    names.VPC: TypeRules(
        id=prefixed("vpc-0", random_hex, 16),
        required=("cidrBlock|ipv4IpamPoolId",),
        replace=frozenset({"cidrBlock", "ipv4IpamPoolId", "ipv4NetmaskLength"}),
        checks=(network.cidr("cidrBlock", longest=28, shortest=16),),
        demands=(_vpc_range_is_unused,),
        outputs=_vpc_outputs,
        derived=_vpc_range,
    ),
    names.SUBNET: TypeRules(
        id=prefixed("subnet-0", random_hex, 16),
        required=("cidrBlock|ipv6CidrBlock|ipv4IpamPoolId",),
        replace=frozenset({"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"}),
        refs=(Ref("vpcId", (names.VPC,)),),
        checks=(
            network.cidr("cidrBlock", longest=28, shortest=16),
            network.zone("availabilityZone"),
        ),
        demands=(
            network.inside("cidrBlock", "vpcId", "InvalidSubnet.Range"),
            network.no_overlap("cidrBlock", "vpcId", "InvalidSubnet.Conflict"),
            _subnet_range,
        ),
        outputs=_subnet_outputs,
    ),
    names.GATEWAY: TypeRules(
        id=prefixed("igw-0", random_hex, 16),
        refs=(Ref("vpcId", (names.VPC,)),),
        demands=(_one_gateway,),
    ),
    names.ROUTE_TABLE: TypeRules(
        id=prefixed("rtb-0", random_hex, 16),
        replace=frozenset({"vpcId"}),
        refs=(
            Ref("vpcId", (names.VPC,)),
            Ref("routes[].gatewayId", (names.GATEWAY,)),
            Ref("routes[].natGatewayId", (names.NAT,)),
        ),
    ),
    "aws:ec2/route:Route": TypeRules(
        id=prefixed("r-rtb-0", random_hex, 20),
        required=("destinationCidrBlock|destinationIpv6CidrBlock|destinationPrefixListId",),
        replace=frozenset({"routeTableId", "destinationCidrBlock", "destinationIpv6CidrBlock"}),
        refs=(
            Ref("routeTableId", names.ROUTE_TABLES, on_delete="cascade"),
            Ref("gatewayId", (names.GATEWAY,)),
            Ref("natGatewayId", (names.NAT,)),
        ),
        checks=(
            network.any_cidr("destinationCidrBlock"),
            network.any_cidr("destinationIpv6CidrBlock", version=6),
            network.exactly_one(
                "gatewayId",
                "natGatewayId",
                "networkInterfaceId",
                "transitGatewayId",
                "vpcPeeringConnectionId",
                "egressOnlyGatewayId",
                "vpcEndpointId",
                "carrierGatewayId",
                "localGatewayId",
                "coreNetworkArn",
                "odbNetworkArn",
            ),
        ),
        demands=(
            _route_target,
            common.not_twice(
                ("routeTableId", "destinationCidrBlock", "destinationIpv6CidrBlock"),
                "RouteAlreadyExists",
            ),
        ),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": TypeRules(
        id=prefixed("rtbassoc-0", random_hex, 16),
        required=("subnetId|gatewayId",),
        replace=frozenset({"subnetId", "gatewayId"}),
        refs=(
            Ref("routeTableId", names.ROUTE_TABLES),
            Ref("subnetId", (names.SUBNET,), on_delete="cascade"),
        ),
        demands=(_association_network,),
    ),
    names.GROUP: TypeRules(
        id=prefixed("sg-0", random_hex, 16),
        required=("vpcId",),
        replace=frozenset({"name", "namePrefix", "description", "vpcId"}),
        refs=(
            Ref("vpcId", (names.VPC,)),
            Ref("ingress[].securityGroups[]", names.GROUPS),
            Ref("egress[].securityGroups[]", names.GROUPS),
        ),
        checks=(
            _group_ports,
            common.matches("name", r"(?!sg-).{1,255}", "1 to 255 characters, not sg-…"),
        ),
        demands=(_group_name,),
        auto_name="name",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _RULE,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _RULE,
}
