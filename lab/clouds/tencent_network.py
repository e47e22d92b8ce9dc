"""VPC and firewalls of Tencent Cloud: network, subnet, NAT gateway, routes, security groups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import common, network
from lab.clouds import tencent_names as names
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, from_inputs, pick, prefixed, random_word

_PROTOCOLS: Final = ("TCP", "UDP", "ICMP", "ICMPV6", "GRE", "ALL")
_PORTED: Final = ("TCP", "UDP")
_SOURCES: Final = (
    "cidrBlock",
    "ipv6CidrBlock",
    "sourceSecurityId",
    "addressTemplateId",
    "addressTemplateGroup",
)
_HOPS: Final = (
    "CVM",
    "VPN",
    "DIRECTCONNECT",
    "PEERCONNECTION",
    "HAVIP",
    "NAT",
    "NORMAL_CVM",
    "EIP",
    "LOCAL_GATEWAY",
    "INTRANAT",
    "USER_CCN",
)


def _rule_set(request: Request) -> Iterator[Problem]:
    for side in ("ingresses", "egresses"):
        for path, rule in pick(request.inputs, f"{side}[]"):
            if isinstance(rule, Mapping):
                yield from _rule(path, rule)


def _rule(path: str, rule: Mapping[str, Any]) -> Iterator[Problem]:
    if rule.get("action") not in ("ACCEPT", "DROP"):
        yield Problem(f"{path}.action", f"{rule.get('action')!r} is not ACCEPT or DROP")
    protocol = str(rule.get("protocol", "ALL")).upper()
    if protocol not in _PROTOCOLS:
        known = ", ".join(_PROTOCOLS)
        yield Problem(f"{path}.protocol", f"{protocol!r} is not one of {known}")
    if reason := _bad_ports(protocol, str(rule.get("port", "ALL"))):
        yield Problem(f"{path}.port", reason)
    given = [name for name in _SOURCES if rule.get(name) not in (None, "")]
    if len(given) != 1:
        text = f"exactly one of {', '.join(_SOURCES)} must be given, not {len(given)}"
        yield Problem(f"{path}.cidrBlock", text)
    for name, version in (("cidrBlock", 4), ("ipv6CidrBlock", 6)):
        block = rule.get(name)
        if isinstance(block, str) and (reason := network.bad_range(block, version)):
            yield Problem(f"{path}.{name}", reason)


def _bad_ports(protocol: str, ports: str) -> str:
    """Ports are "ALL", "80", "80-90" or "80,443"."""
    if ports.upper() == "ALL":
        return ""
    if protocol not in _PORTED:
        return f"must be ALL for {protocol}"
    for part in ports.split(","):
        if not re.fullmatch(r"\d+(-\d+)?", part):
            return f"{ports!r} is not ALL, 80, 80-90 or 80,443"
        first, _, last = part.partition("-")
        if reason := network.port_numbers(first, last or first):
            return reason
    return ""


def _hop_exists(request: Request) -> Iterator[CloudError]:
    kinds = {"NAT": names.NAT, "EIP": names.EIP, "CVM": names.INSTANCE}
    kind, hop = kinds.get(str(request.inputs["nextType"])), str(request.inputs["nextHub"])
    # EIP takes "0": the instance's own public address.
    if kind and hop != "0" and request.store.get(request.cloud, kind, hop) is None:
        yield CloudError("ResourceNotFound", f"{hop!r} does not exist", "nextHub")


def _nat_addresses(request: Request) -> Iterator[CloudError]:
    """A gateway's addresses are not any host's."""
    for path, address in pick(request.inputs, "assignedEipSets[]"):
        for link in request.store.all(request.cloud, names.ASSOCIATION):
            eip = request.store.get(request.cloud, names.EIP, str(link.inputs.get("eipId")))
            if eip and eip.outputs["publicIp"] == address:
                text = f"{address} is with {link.inputs.get('instanceId')} already"
                yield CloudError("InvalidAddressState", text, path)


TYPES: Final[Mapping[str, TypeRules]] = {
    names.VPC: TypeRules(
        id=prefixed("vpc-", random_word, 8),
        replace=frozenset({"cidrBlock"}),
        checks=(network.cidr("cidrBlock", longest=28, shortest=12),),
        outputs=lambda _request, _id: {
            "defaultRouteTableId": f"rtb-{random_word(8)}",
            "createTime": "2026-01-01 00:00:00",
        },
        auto_name="name",
    ),
    names.SUBNET: TypeRules(
        id=prefixed("subnet-", random_word, 8),
        replace=frozenset({"vpcId", "cidrBlock", "availabilityZone"}),
        refs=(
            Ref("vpcId", (names.VPC,)),
            Ref("routeTableId", names.ROUTE_TABLES),
        ),
        checks=(
            network.cidr("cidrBlock", longest=29, shortest=16),
            network.zone("availabilityZone"),
        ),
        demands=(
            network.inside("cidrBlock", "vpcId", "InvalidParameterValue.SubnetRange"),
            network.no_overlap("cidrBlock", "vpcId", "InvalidParameterValue.SubnetOverlap"),
        ),
        auto_name="name",
    ),
    names.NAT: TypeRules(
        id=prefixed("nat-", random_word, 8),
        replace=frozenset({"vpcId", "zone", "natProductVersion"}),
        refs=(
            Ref("vpcId", (names.VPC,)),
            Ref("subnetId", (names.SUBNET,)),
            Ref("assignedEipSets[]", (f"{names.EIP}#publicIp",)),
        ),
        checks=(network.zone("zone"),),
        demands=(_nat_addresses,),
        auto_name="name",
    ),
    names.ROUTE_TABLE: TypeRules(
        id=prefixed("rtb-", random_word, 8),
        replace=frozenset({"vpcId"}),
        refs=(Ref("vpcId", (names.VPC,)),),
        auto_name="name",
    ),
    "tencentcloud:Route/tableEntry:TableEntry": TypeRules(
        id=lambda request: f"{random_word(6)}.{request.inputs['routeTableId']}",
        replace=frozenset(
            {"routeTableId", "destinationCidrBlock", "nextType", "nextHub", "description"}
        ),
        refs=(
            Ref("routeTableId", names.ROUTE_TABLES, on_delete="cascade"),
            Ref("nextHub", (names.NAT, names.EIP, names.INSTANCE), on_delete="refuse"),
        ),
        checks=(
            network.any_cidr("destinationCidrBlock"),
            network.one_of("nextType", _HOPS),
        ),
        demands=(
            _hop_exists,
            common.not_twice(("routeTableId", "destinationCidrBlock"), "RouteConflict"),
        ),
    ),
    "tencentcloud:Route/tableAssociation:TableAssociation": TypeRules(
        id=from_inputs("{subnetId}"),
        replace=frozenset({"subnetId"}),
        refs=(
            Ref("routeTableId", names.ROUTE_TABLES),
            Ref("subnetId", (names.SUBNET,), on_delete="cascade"),
        ),
    ),
    names.GROUP: TypeRules(
        id=prefixed("sg-", random_word, 8),
        replace=frozenset({"projectId"}),
        auto_name="name",
    ),
    names.RULE_SET: TypeRules(
        id=from_inputs("{securityGroupId}"),
        replace=frozenset({"securityGroupId"}),
        refs=(
            Ref("securityGroupId", (names.GROUP,), on_delete="cascade"),
            Ref("ingresses[].sourceSecurityId", (names.GROUP,)),
            Ref("egresses[].sourceSecurityId", (names.GROUP,)),
        ),
        checks=(_rule_set,),
    ),
    names.KEY_PAIR: TypeRules(
        id=prefixed("skey-", random_word, 8),
        replace=frozenset({"publicKey", "projectId"}),
        checks=(
            common.public_key("publicKey"),
            common.matches("keyName", r"[a-zA-Z0-9_]{1,25}", "1 to 25 letters, digits, _"),
        ),
        demands=(common.unique("keyName", "InvalidKeyPairName.Duplicate"),),
    ),
}
