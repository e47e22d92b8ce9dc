"""Rules about IPv6 that the clouds share: ranges of networks and subnets, addresses of hosts.

A cloud chooses the range of a network, a /56; a subnet has a /64 of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from lab.resource import CloudError, Resource
from lab.rules import Request

_NETWORK: Final = 56
_SUBNET: Final = 64
_KEPT: Final = 4  # of each subnet, beside the last


def block(request: Request, id: str, first: str) -> str:
    """The range that a resource has, or else the lowest from `first` on that none of this cloud
    has yet.
    """
    known = request.store.get(request.cloud, request.type, id)
    if known is not None and known.outputs.get("ipv6CidrBlock"):
        return str(known.outputs["ipv6CidrBlock"])
    used = {found.outputs.get("ipv6CidrBlock") for found in request.store.all(request.cloud)}
    candidate = ipaddress.IPv6Network(first)
    while str(candidate) in used:
        candidate = ipaddress.IPv6Network((candidate.broadcast_address + 1, _NETWORK))
    return str(candidate)


def part(whole: Any, number: int) -> str:
    """The subnet range of that number in a network's range; empty when it has none."""
    network = _network(whole)
    return str(list(network.subnets(new_prefix=_SUBNET))[number]) if network else ""


def bad_part(text: str, whole: Any, others: Iterable[Any]) -> str:
    """Why a text is no range of a subnet beside the others; empty when it is one."""
    own, network = _network(text), _network(whole)
    if own is None or own.prefixlen != _SUBNET:
        return f"{text!r} is not an IPv6 range with the prefix /{_SUBNET}"
    if network is None:
        return "the network has no IPv6 range"
    if not own.subnet_of(network):
        return f"{own} is not inside {network}"
    return f"{own} is another subnet's" if str(own) in map(str, others) else ""


def bad_address(text: str, subnet_range: Any, holders: Mapping[str, Resource]) -> str:
    """Why a text is no address for a host of that range; empty when it is one. `holders` says who
    has an address already.
    """
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        return str(error)
    network = _network(subnet_range)
    if network is None:
        return "the subnet has no IPv6 range"
    if address not in network:
        return f"{address} is not inside {network}"
    if int(address) - int(network[0]) < _KEPT or address == network[-1]:
        return f"{address} is reserved by the cloud in {network}"
    if other := holders.get(str(address)):
        return f"{address} is taken by {other.type} {other.name!r} ({other.id})"
    return ""


def lowest(subnet_range: Any, taken: Iterable[str]) -> str:
    """The lowest address for a host in a range that is there."""
    used, candidate = set(taken), ipaddress.IPv6Network(str(subnet_range))[_KEPT]
    while str(candidate) in used:
        candidate += 1
    return str(candidate)


def holders(request: Request, type: str, property: str) -> dict[str, Resource]:
    """Address → who has it, of a type with a list of addresses; the request's own aside."""
    return {
        str(found): other
        for other in request.others(type)
        for found in other.outputs.get(property) or ()
    }


def addresses_fit(request: Request, subnet_range: Any, type: str) -> Iterator[CloudError]:
    """The input `ipv6Addresses` of an instance has addresses that it may have."""
    taken = holders(request, type, "ipv6Addresses")
    for index, text in enumerate(request.inputs.get("ipv6Addresses") or ()):
        if reason := bad_address(str(text), subnet_range, taken):
            yield CloudError("InvalidIPv6Address", reason, f"ipv6Addresses[{index}]")


def _network(text: Any) -> ipaddress.IPv6Network | None:
    try:
        return ipaddress.IPv6Network(str(text)) if text else None
    except ValueError:
        return None
