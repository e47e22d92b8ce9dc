"""VPC and firewalls of Alibaba Cloud: network, switch, NAT gateway, security groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import alicloud_ipv6, common, network
from lab.clouds import alicloud_names as names
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, from_inputs, prefixed, random_hex, random_word

# Protocol → whether its rules name ports.
_PROTOCOLS: Final = {"tcp": True, "udp": True, "icmp": False, "icmpv6": False}
_PROTOCOLS_ALL: Final = {**_PROTOCOLS, "gre": False, "all": False}


def _nat_is_enhanced(request: Request) -> Iterator[Problem]:
    if request.inputs.get("natType") != "Enhanced":
        yield Problem("natType", "must be Enhanced: new Normal gateways are no longer sold")
    if not request.inputs.get("vswitchId"):
        yield Problem("vswitchId", "is required by an Enhanced gateway")


def _nat_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {
        "snatTableIds": f"stb-{random_word(21)}",
        "forwardTableIds": f"ftb-{random_word(21)}",
        "status": "Available",
    }


def _snat_address(request: Request) -> Iterator[CloudError]:
    """The address a SNAT entry shows must be associated with its gateway."""
    gateway, wanted = request.named("snatTableId"), request.inputs.get("snatIp")
    if gateway is None:
        return
    for link in request.store.all("alicloud", names.ASSOCIATION):
        if link.inputs.get("instanceId") == gateway.id:
            eip = request.store.get("alicloud", names.EIP, str(link.inputs["allocationId"]))
            if eip and eip.outputs["ipAddress"] in str(wanted).split(","):
                return
    text = f"{wanted} is not associated with {gateway.id}; depend on its EipAssociation"
    yield CloudError("IncorretSnatIp.NotFound", text, "snatIp")


def _ports(request: Request) -> Iterator[Problem]:
    if not common.is_known(request, "ipProtocol", "portRange"):
        return
    kind, ports = request.inputs["ipProtocol"], request.inputs.get("portRange")
    if kind not in _PROTOCOLS_ALL:
        known = ", ".join(_PROTOCOLS_ALL)
        yield Problem("ipProtocol", f"{kind!r} is not one of {known}")
    elif not _PROTOCOLS_ALL[kind]:
        if ports not in (None, "-1/-1"):
            yield Problem("portRange", f"must be -1/-1 for {kind}")
    else:
        first, slash, last = str(ports).partition("/")
        reason = network.port_numbers(first, last) if slash else f"{ports!r} is not first/last"
        if reason or "0" in (first, last):
            text = reason or "ports go from 1 to 65535"
            yield Problem("portRange", f"{text}; write it as 22/22 or 1/65535")


def _priority(request: Request) -> Iterator[Problem]:
    found = request.known("priority")
    if found is not None and not 1 <= int(found) <= 100:
        yield Problem("priority", f"{found} is not from 1 to 100")


TYPES: Final[Mapping[str, TypeRules]] = {
    names.VPC: TypeRules(
        id=prefixed("vpc-", random_word, 21),
        required=("cidrBlock|ipv4IpamPoolId",),
        replace=frozenset({"cidrBlock", "isDefault"}),
        checks=(network.cidr("cidrBlock", longest=28, shortest=8),),
        outputs=lambda _request, _id: {
            "status": "Available",
            "routerId": f"vrt-{random_word(21)}",
            "routeTableId": f"vtb-{random_word(21)}",
        },
        derived=alicloud_ipv6.network_range,
    ),
    names.SWITCH: TypeRules(
        id=prefixed("vsw-", random_word, 21),
        required=("vpcId", "cidrBlock", "zoneId|availabilityZone"),
        replace=frozenset({"vpcId", "cidrBlock", "zoneId", "availabilityZone"}),
        refs=(Ref("vpcId", (names.VPC,)),),
        checks=(
            network.cidr("cidrBlock", longest=29, shortest=16),
            network.zone("zoneId"),
            network.zone("availabilityZone"),
            alicloud_ipv6.switch_number,
        ),
        demands=(
            network.inside("cidrBlock", "vpcId", "InvalidCidrBlock.NotInVpc"),
            network.no_overlap("cidrBlock", "vpcId", "InvalidCidrBlock.Overlapped"),
            alicloud_ipv6.switch_range_is_free,
        ),
        outputs=lambda request, _id: {
            "status": "Available",
            "zoneId": request.inputs.get("zoneId") or request.inputs.get("availabilityZone"),
        },
        derived=alicloud_ipv6.switch_range,
    ),
    names.NAT: TypeRules(
        id=prefixed("ngw-", random_word, 21),
        replace=frozenset({"vpcId", "natType", "vswitchId", "networkType"}),
        refs=(Ref("vpcId", (names.VPC,)), Ref("vswitchId", (names.SWITCH,))),
        checks=(_nat_is_enhanced,),
        demands=(network.agrees("vpcId", "vswitchId", "vpcId", "InvalidVSwitchId.NotInVpc"),),
        deletion=(common.protected("deletionProtection", "OperationDenied.Protection"),),
        outputs=_nat_outputs,
    ),
    names.SNAT: TypeRules(
        id=lambda request: f"{request.inputs['snatTableId']}:snat-{random_word(21)}",
        replace=frozenset({"snatTableId", "sourceCidr", "sourceVswitchId"}),
        refs=(
            Ref("snatTableId", (f"{names.NAT}#snatTableIds",)),
            Ref("sourceVswitchId", (names.SWITCH,)),
        ),
        checks=(
            network.any_cidr("sourceCidr"),
            network.exactly_one("sourceCidr", "sourceVswitchId"),
        ),
        demands=(_snat_address,),
        outputs=lambda _request, id: {"snatEntryId": id.split(":")[1], "status": "Available"},
    ),
    names.GROUP: TypeRules(
        id=prefixed("sg-", random_word, 20),
        required=("vpcId",),
        replace=frozenset({"vpcId", "securityGroupType"}),
        refs=(Ref("vpcId", (names.VPC,)),),
    ),
    names.RULE: TypeRules(
        id=from_inputs(
            "{securityGroupId}:{type}:{ipProtocol}:{portRange}:{nicType}:"
            "{cidrIp}{ipv6CidrIp}{sourceSecurityGroupId}{prefixListId}:{policy}:{priority}"
        ),
        replace=frozenset(
            {
                "type",
                "ipProtocol",
                "portRange",
                "nicType",
                "policy",
                "priority",
                "securityGroupId",
                "cidrIp",
                "ipv6CidrIp",
                "prefixListId",
                "sourceSecurityGroupId",
                "sourceGroupOwnerAccount",
            }
        ),
        refs=(
            Ref("securityGroupId", (names.GROUP,), on_delete="cascade"),
            Ref("sourceSecurityGroupId", (names.GROUP,)),
        ),
        checks=(
            network.one_of("type", ("ingress", "egress")),
            network.one_of("policy", ("accept", "drop")),
            network.one_of("nicType", ("internet", "intranet")),
            _ports,
            _priority,
            network.any_cidr("cidrIp"),
            network.any_cidr("ipv6CidrIp", version=6),
            network.exactly_one("cidrIp", "ipv6CidrIp", "sourceSecurityGroupId", "prefixListId"),
        ),
    ),
    names.KEY_PAIR: TypeRules(
        id=from_inputs("{keyPairName}"),
        replace=frozenset({"keyPairName", "publicKey", "keyName", "keyNamePrefix"}),
        checks=(
            common.public_key("publicKey"),
            common.matches("keyPairName", r"[a-zA-Z][\w:.-]{1,127}", "2 to 128 characters"),
        ),
        demands=(common.unique("keyPairName", "InvalidKeyPair.Duplicate"),),
        outputs=lambda _request, _id: {"fingerPrint": random_hex(32)},
        auto_name="keyPairName",
    ),
}
