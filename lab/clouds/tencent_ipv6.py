"""IPv6 of Tencent Cloud: ranges, addresses of interfaces, and bandwidth that opens them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import common, ipv6, network
from lab.clouds import tencent_names as names
from lab.resource import CloudError, Resource
from lab.rules import Ref, Request, TypeRules, from_inputs

_MOST: Final = 2000  # Mbit/s


def _range_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {"ipv6CidrBlock": ipv6.block(request, id, names.FIRST_IPV6)}


def subnet_range(request: Request, subnet: str) -> str:
    """The IPv6 range of a subnet; empty when it has none."""
    for found in request.store.all(request.cloud, names.IPV6_SUBNET):
        given = found.inputs["ipv6SubnetCidrBlocks"]
        if given["subnetId"] == subnet:
            return str(given["ipv6CidrBlock"])
    return ""


def _subnet_fits(request: Request) -> Iterator[CloudError]:
    given, vpc = request.inputs["ipv6SubnetCidrBlocks"], request.inputs["vpcId"]
    subnet = request.store.get(request.cloud, names.SUBNET, str(given["subnetId"]))
    if subnet is not None and subnet.inputs.get("vpcId") != vpc:
        text = f"{subnet.id} is not a subnet of {vpc}"
        yield CloudError("InvalidParameterValue", text, "ipv6SubnetCidrBlocks.subnetId")
    if subnet is not None and subnet_range(request, subnet.id):
        text = f"{subnet.id} has {subnet_range(request, subnet.id)} already"
        yield CloudError("InvalidParameterValue", text, "ipv6SubnetCidrBlocks.subnetId")
    whole = request.store.get(request.cloud, names.IPV6_RANGE, str(vpc))
    others = [other.inputs["ipv6SubnetCidrBlocks"]["ipv6CidrBlock"] for other in request.others()]
    outer = whole.outputs["ipv6CidrBlock"] if whole else None
    if reason := ipv6.bad_part(str(given["ipv6CidrBlock"]), outer, others):
        yield CloudError("InvalidParameterValue", reason, "ipv6SubnetCidrBlocks.ipv6CidrBlock")


def _instance(request: Request) -> Resource | None:
    """The instance that was born with the interface of a request."""
    wanted = request.inputs.get("networkInterfaceId")
    found = request.others(names.INSTANCE)
    return next((each for each in found if names.interface(each.id) == wanted), None)


def _others(request: Request) -> list[Resource]:
    """What other interfaces have. Those of an instance that is gone went with it."""
    present = {names.interface(each.id) for each in request.others(names.INSTANCE)}
    return [r for r in request.others() if r.inputs["networkInterfaceId"] in present]


def _named(given: Mapping[str, Any]) -> list[str]:
    return [str(entry["address"]) for entry in given.get("ipv6Addresses") or ()]


def _address_fits(request: Request) -> Iterator[CloudError]:
    instance = _instance(request)
    if instance is None:
        text = f"{request.inputs['networkInterfaceId']!r} does not exist"
        yield CloudError("ResourceNotFound", text, "networkInterfaceId")
        return
    own = subnet_range(request, str(instance.inputs["subnetId"]))
    taken = {text: other for other in _others(request) for text in _named(other.outputs)}
    for index, text in enumerate(_named(request.inputs)):
        if reason := ipv6.bad_address(text, own, taken):
            where = f"ipv6Addresses[{index}].address"
            yield CloudError("InvalidParameterValue", reason, where)
    if request.inputs.get("ipv6AddressCount") and not own:
        text = f"{instance.inputs['subnetId']} has no IPv6 range"
        yield CloudError("InvalidParameterValue", text, "ipv6AddressCount")


def _address_outputs(request: Request, id: str) -> Mapping[str, Any]:
    """As many addresses as were asked for, unless they were named."""
    instance, found = _instance(request), list[str]()
    own = subnet_range(request, str(instance.inputs["subnetId"])) if instance else ""
    taken = [text for other in _others(request) for text in _named(other.outputs)]
    for _ in range(int(request.inputs.get("ipv6AddressCount") or 0)):
        found.append(ipv6.lowest(own, [*taken, *found]))
    return {"ipv6Addresses": [{"address": text} for text in found]}


def _address_is_closed(request: Request) -> Iterator[CloudError]:
    known = request.store.get(request.cloud, request.type, request.id)
    elsewhere = {text for other in _others(request) for text in _named(other.outputs)}
    own = {*_named(known.outputs)} - elsewhere if known else set()
    for other in request.others(names.IPV6_BANDWIDTH):
        if other.inputs["ip6Address"] in own:
            text = f"{other.inputs['ip6Address']} still has the bandwidth {other.name!r}"
            yield CloudError("InvalidAddressState", text, "ipv6Addresses")


def _address_exists(request: Request) -> Iterator[CloudError]:
    wanted = str(request.inputs["ip6Address"])
    addresses = request.others(names.IPV6_ADDRESS)
    if not any(wanted in _named(found.outputs) for found in addresses):
        text = f"{wanted!r} is with no network interface"
        yield CloudError("ResourceNotFound", text, "ip6Address")


def _mbits(request: Request) -> Iterator[Problem]:
    found = request.known("internetMaxBandwidthOut")
    if found is not None and not 1 <= int(found) <= _MOST:
        yield Problem("internetMaxBandwidthOut", f"{found} is not from 1 to {_MOST} Mbit/s")


TYPES: Final[Mapping[str, TypeRules]] = {
    names.IPV6_RANGE: TypeRules(
        id=from_inputs("{vpcId}"),
        replace=frozenset({"vpcId", "addressType"}),
        refs=(Ref("vpcId", (names.VPC,)),),
        checks=(network.one_of("addressType", ("GUA", "ULA")),),
        outputs=_range_outputs,
    ),
    names.IPV6_SUBNET: TypeRules(
        id=lambda request: (
            f"{request.inputs['vpcId']}#{request.inputs['ipv6SubnetCidrBlocks']['subnetId']}"
        ),
        replace=frozenset({"vpcId", "ipv6SubnetCidrBlocks"}),
        refs=(
            Ref("vpcId", (names.VPC,)),
            Ref("ipv6SubnetCidrBlocks.subnetId", (names.SUBNET,)),
        ),
        demands=(_subnet_fits,),
    ),
    names.IPV6_ADDRESS: TypeRules(
        id=from_inputs("{networkInterfaceId}"),
        required=("ipv6Addresses|ipv6AddressCount",),
        replace=frozenset({"networkInterfaceId", "ipv6Addresses", "ipv6AddressCount"}),
        checks=(common.at_most_one("ipv6Addresses", "ipv6AddressCount"),),
        demands=(_address_fits,),
        deletion=(_address_is_closed,),
        outputs=_address_outputs,
    ),
    names.IPV6_BANDWIDTH: TypeRules(
        id=from_inputs("{ip6Address}"),
        replace=frozenset({"ip6Address"}),
        checks=(
            _mbits,
            network.one_of("internetChargeType", ("BANDWIDTH_PACKAGE", "TRAFFIC_POSTPAID_BY_HOUR")),
        ),
        demands=(_address_exists, common.unique("ip6Address", "AddressAlreadyOpen")),
    ),
}
