"""IPv6 of Alibaba Cloud: ranges, addresses that outlive their host, the way to the internet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import alicloud_names as names
from lab.clouds import ipv6, network
from lab.resource import CloudError, Resource
from lab.rules import Ref, Request, TypeRules, from_inputs, prefixed, random_word

_PARTS: Final = 256  # switches in a network's /56


def network_range(request: Request, id: str) -> Mapping[str, Any]:
    """A network's range. Once given it stays: leaving the input out says nothing."""
    known = request.store.get(request.cloud, request.type, id)
    if request.inputs.get("enableIpv6") or (known and known.outputs.get("ipv6CidrBlock")):
        return {"ipv6CidrBlock": ipv6.block(request, id, names.FIRST_IPV6)}
    return {"ipv6CidrBlock": ""}


def switch_number(request: Request) -> Iterator[Problem]:
    """Which part of the network's range a switch is to have."""
    number = request.known("ipv6CidrBlockMask")
    if request.inputs.get("enableIpv6") and request.inputs.get("ipv6CidrBlockMask") is None:
        yield Problem("ipv6CidrBlockMask", "is required with enableIpv6")
    if number is not None and not 0 <= int(number) < _PARTS:
        yield Problem("ipv6CidrBlockMask", f"{number} is not from 0 to {_PARTS - 1}")


def switch_range_is_free(request: Request) -> Iterator[CloudError]:
    """The part is there, and no other switch's."""
    vpc, number = request.named("vpcId"), request.inputs.get("ipv6CidrBlockMask")
    if number is None or vpc is None:
        return
    if not vpc.outputs.get("ipv6CidrBlock"):
        text = f"{vpc.name!r} ({vpc.id}) has no IPv6 range; set its enableIpv6"
        yield CloudError("OperationFailed.Ipv6NotEnabled", text, "ipv6CidrBlockMask")
    for other in request.others():
        same = other.inputs.get("vpcId") == vpc.id
        if same and other.inputs.get("ipv6CidrBlockMask") == number:
            text = f"{int(number)} is taken by {other.name!r} ({other.id})"
            yield CloudError("InvalidIpv6CidrBlock.Overlapped", text, "ipv6CidrBlockMask")


def switch_range(request: Request, id: str) -> Mapping[str, Any]:
    """A switch's range, which stays like its network's."""
    vpc, number = request.named("vpcId"), request.inputs.get("ipv6CidrBlockMask")
    known = request.store.get(request.cloud, request.type, id)
    if vpc is not None and number is not None and request.inputs.get("enableIpv6"):
        return {"ipv6CidrBlock": ipv6.part(vpc.outputs.get("ipv6CidrBlock"), int(number))}
    return {"ipv6CidrBlock": known.outputs.get("ipv6CidrBlock", "") if known else ""}


def instance_addresses(request: Request) -> Iterator[CloudError]:
    """An instance's addresses are of its switch, and no other instance's."""
    switch = request.named("vswitchId")
    if switch is None:
        return
    own = switch.outputs.get("ipv6CidrBlock")
    yield from ipv6.addresses_fit(request, own, names.INSTANCE)
    if request.inputs.get("ipv6AddressCount") and not own:
        text = f"{switch.name!r} ({switch.id}) has no IPv6 range"
        yield CloudError("InvalidOperation.Ipv6NotSupport", text, "ipv6AddressCount")


def chosen_addresses(request: Request) -> list[str]:
    """As many addresses as an instance asks for, unless it names them."""
    switch, found = request.named("vswitchId"), list[str]()
    for _ in range(int(request.inputs.get("ipv6AddressCount") or 0) if switch else 0):
        taken = [*ipv6.holders(request, names.INSTANCE, "ipv6Addresses"), *_reserved(request)]
        found.append(ipv6.lowest(switch and switch.outputs["ipv6CidrBlock"], [*taken, *found]))
    return found


def _reserved(request: Request) -> dict[str, Resource]:
    """Addresses that are kept for somebody, by their own resource."""
    kept = request.others(names.IPV6_ADDRESS)
    return {str(found.outputs["ipv6Address"]): found for found in kept}


def _address_fits(request: Request) -> Iterator[CloudError]:
    switch, wanted = request.named("vswitchId"), request.inputs.get("ipv6Address")
    if switch is None:
        return
    own = switch.outputs.get("ipv6CidrBlock")
    taken = {**ipv6.holders(request, names.INSTANCE, "ipv6Addresses"), **_reserved(request)}
    if not own:
        text = f"{switch.name!r} ({switch.id}) has no IPv6 range"
        yield CloudError("InvalidVSwitchId.Ipv6NotEnabled", text, "vswitchId")
    elif wanted and (reason := ipv6.bad_address(str(wanted), own, taken)):
        yield CloudError("InvalidIpv6Address", reason, "ipv6Address")


def _address_outputs(request: Request, id: str) -> Mapping[str, Any]:
    switch = request.named("vswitchId")
    taken = [*ipv6.holders(request, names.INSTANCE, "ipv6Addresses"), *_reserved(request)]
    own = switch.outputs["ipv6CidrBlock"] if switch else ""
    return {"ipv6Address": ipv6.lowest(own, taken), "status": "Available"}


def _address_is_unused(request: Request) -> Iterator[CloudError]:
    known = request.store.get(request.cloud, request.type, request.id)
    users = ipv6.holders(request, names.INSTANCE, "ipv6Addresses")
    if known and (user := users.get(str(known.outputs["ipv6Address"]))):
        text = f"{known.outputs['ipv6Address']} is with {user.name!r} ({user.id})"
        yield CloudError("IncorrectStatus.Ipv6Address", text, "ipv6Address")


def _one_gateway(request: Request) -> Iterator[CloudError]:
    vpc = request.named("vpcId")
    if vpc is not None and not vpc.outputs.get("ipv6CidrBlock"):
        text = f"{vpc.name!r} ({vpc.id}) has no IPv6 range; set its enableIpv6"
        yield CloudError("OperationFailed.Ipv6NotEnabled", text, "vpcId")
    for other in request.others():
        if vpc is not None and other.inputs.get("vpcId") == vpc.id:
            text = f"{vpc.id} already has {other.name!r} ({other.id})"
            yield CloudError("ResourceAlreadyExist.Ipv6Gateway", text, "vpcId")


def _bandwidth_fits(request: Request) -> Iterator[CloudError]:
    """The gateway is that of the address's network, and somebody has the address."""
    address, gateway = request.named("ipv6AddressId"), request.named("ipv6GatewayId")
    if address is None or gateway is None:
        return
    switch = request.store.get(request.cloud, names.SWITCH, str(address.inputs["vswitchId"]))
    if switch is None or switch.inputs.get("vpcId") != gateway.inputs.get("vpcId"):
        text = f"{gateway.id} is not of the network of {address.id}"
        yield CloudError("InvalidIpv6GatewayId.NotMatch", text, "ipv6GatewayId")
    users = ipv6.holders(request, names.INSTANCE, "ipv6Addresses")
    if str(address.outputs["ipv6Address"]) not in users:
        text = f"{address.outputs['ipv6Address']} is with no instance yet"
        yield CloudError("IncorrectStatus.Ipv6Address", text, "ipv6AddressId")


def _mbits(request: Request) -> Iterator[Problem]:
    found = request.known("bandwidth")
    if found is not None and not 1 <= int(found) <= 5000:
        yield Problem("bandwidth", f"{found} is not from 1 to 5000 Mbit/s")


TYPES: Final[Mapping[str, TypeRules]] = {
    names.IPV6_ADDRESS: TypeRules(
        id=prefixed("ipv6-", random_word, 20),
        replace=frozenset({"vswitchId", "ipv6Address", "addressType"}),
        refs=(Ref("vswitchId", (names.SWITCH,)),),
        demands=(_address_fits,),
        deletion=(_address_is_unused,),
        outputs=_address_outputs,
    ),
    names.IPV6_GATEWAY: TypeRules(
        id=prefixed("ipv6gw-", random_word, 20),
        replace=frozenset({"vpcId"}),
        refs=(Ref("vpcId", (names.VPC,)),),
        demands=(_one_gateway,),
        outputs=lambda _request, _id: {"status": "Available"},
    ),
    names.IPV6_BANDWIDTH: TypeRules(
        id=from_inputs("{ipv6AddressId}"),
        replace=frozenset({"ipv6AddressId", "ipv6GatewayId", "internetChargeType"}),
        refs=(
            Ref("ipv6AddressId", (names.IPV6_ADDRESS,)),
            Ref("ipv6GatewayId", (names.IPV6_GATEWAY,)),
        ),
        checks=(
            _mbits,
            network.one_of("internetChargeType", ("PayByBandwidth", "PayByTraffic")),
        ),
        demands=(_bandwidth_fits,),
        outputs=lambda _request, _id: {"status": "Normal"},
    ),
}
