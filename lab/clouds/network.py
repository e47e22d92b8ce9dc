"""Rules about addresses that the clouds share; each cloud gives its own numbers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.resource import CloudError, Resource
from lab.rules import Check, Demand, Request

_PORTS: Final = 65535


def _network(text: Any) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError:
        return None


def cidr(property: str, longest: int, shortest: int) -> Check:
    """`property` is an IPv4 range with a prefix from /`shortest` to /`longest`, host bits zero."""

    def check(request: Request) -> Iterator[Problem]:
        text = request.known(property)
        if text is None:
            return
        try:
            found = ipaddress.IPv4Network(str(text))
        except ValueError as error:
            yield Problem(property, f"is not a valid CIDR block: {error}")
            return
        if not shortest <= found.prefixlen <= longest:
            yield Problem(property, f"{text} must have a prefix from /{shortest} to /{longest}")

    return check


def any_cidr(property: str, version: int = 4) -> Check:
    """`property` is a range of addresses of that IP version."""

    def check(request: Request) -> Iterator[Problem]:
        text = request.known(property)
        if text is not None:
            reason = bad_range(str(text), version)
            if reason:
                yield Problem(property, reason)

    return check


def bad_range(text: str, version: int = 4) -> str:
    """Why a text is no range of addresses; empty when it is one."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        return f"is not a valid CIDR block: {error}"
    return "" if found.version == version else f"{text} is not an IPv{version} range"


def inside(property: str, network: str, code: str) -> Demand:
    """The range `property` lies within that of the network which `network` names."""

    def demand(request: Request) -> Iterator[CloudError]:
        parent, own = request.named(network), _network(request.inputs.get(property))
        outer = _network(parent.inputs.get("cidrBlock")) if parent else None
        if parent and outer and own and not own.subnet_of(outer):
            text = f"{own} is not inside {outer} of {parent.name!r} ({parent.id})"
            yield CloudError(code, text, property)

    return demand


def no_overlap(property: str, network: str, code: str) -> Demand:
    """The range `property` overlaps no other resource's of this type in the same network."""

    def demand(request: Request) -> Iterator[CloudError]:
        own = _network(request.inputs.get(property))
        for other in request.others():
            theirs = _network(other.inputs.get(property))
            same_network = other.inputs.get(network) == request.inputs.get(network)
            if own and theirs and same_network and own.overlaps(theirs):
                text = f"{own} overlaps {theirs} of {other.name!r} ({other.id})"
                yield CloudError(code, text, property)

    return demand


Reserved = Callable[[ipaddress.IPv4Network], set[ipaddress.IPv4Address]]


def ends(first: int, last: int) -> Reserved:
    """The cloud keeps the first and the last so many addresses of each subnet."""

    def reserved(network: ipaddress.IPv4Network) -> set[ipaddress.IPv4Address]:
        low = {network.network_address + offset for offset in range(first)}
        return low | {network.broadcast_address - offset for offset in range(last)}

    return reserved


def free_address(property: str, subnet: str, reserved: Reserved) -> Demand:
    """The address `property` is inside the subnet, not the cloud's own, and not taken."""

    def demand(request: Request) -> Iterator[CloudError]:
        text, parent = request.inputs.get(property), request.named(subnet)
        network = _network(parent.inputs.get("cidrBlock")) if parent else None
        if not text or network is None or parent is None:
            return
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError as error:
            yield CloudError("InvalidIPAddress", str(error), property)
            return
        if address not in network:
            where = f"{network} of {parent.name!r} ({parent.id})"
            yield CloudError(
                "InvalidIPAddress.NotInRange", f"{address} is not in {where}", property
            )
        elif address in reserved(network):
            text = f"{address} is reserved by the cloud in {network}"
            yield CloudError("InvalidIPAddress.Reserved", text, property)
        elif str(address) in (taken := _taken(request, parent)):
            other = taken[str(address)]
            text = f"{address} is taken by {other.type} {other.name!r} ({other.id})"
            yield CloudError("InvalidIPAddress.InUse", text, property)

    return demand


def assign(request: Request, property: str, subnet: str, reserved: Reserved) -> str:
    """The address asked for, or else the lowest free one of the subnet.

    CloudError when the subnet is full.
    """
    wanted, parent = request.inputs.get(property), request.named(subnet)
    if wanted:
        return str(wanted)
    network = _network(parent.inputs.get("cidrBlock")) if parent else None
    if parent is None or network is None:
        return ""
    used = {*_taken(request, parent), *map(str, reserved(network))}
    for address in network:
        if str(address) not in used:
            return str(address)
    text = f"{network} of {parent.name!r} has no free address"
    raise CloudError("InsufficientFreeAddresses", text, subnet, exists=False)


def _taken(request: Request, subnet: Resource) -> dict[str, Resource]:
    """Private address → who has it, in one subnet."""
    return {
        str(user.outputs["privateIp"]): user
        for user, _ in request.store.users(subnet)
        if user.outputs.get("privateIp") and (user.type, user.id) != (request.type, request.id)
    }


def public_address(request: Request, first: str) -> str:
    """The lowest public address from `first` on that no resource of this cloud has yet."""
    used = {
        resource.outputs.get(output)
        for resource in request.store.all(request.cloud)
        for output in ("publicIp", "ipAddress")
    }
    address = ipaddress.IPv4Address(first)
    while str(address) in used:
        address += 1
    return str(address)


def same_network(groups: str, subnet: str, code: str) -> Demand:
    """Every security group in `groups` belongs to the network of the subnet."""

    def demand(request: Request) -> Iterator[CloudError]:
        parent = request.named(subnet)
        if parent is None:
            return
        for ref in request.rules.refs:
            if ref.path != f"{groups}[]":
                continue
            for index, value in enumerate(request.inputs.get(groups) or []):
                group = request.find(ref, value)
                network = group.inputs.get("vpcId", group.id) if group else None
                if network is not None and network != parent.inputs.get("vpcId"):
                    text = (
                        f"security group {value} is in network {network}, "
                        f"but {subnet} {parent.id} is in {parent.inputs.get('vpcId')}"
                    )
                    yield CloudError(code, text, f"{groups}[{index}]")

    return demand


def agrees(property: str, with_: str, theirs: str, code: str) -> Demand:
    """The input `property`, if given, equals `theirs` of the resource which `with_` names."""

    def demand(request: Request) -> Iterator[CloudError]:
        own, other = request.inputs.get(property), request.named(with_)
        if other is None or own is None:
            return
        expected = other.outputs.get(theirs)
        if expected is not None and own != expected:
            text = f"{own} differs from {theirs} {expected} of {other.name!r} ({other.id})"
            yield CloudError(code, text, property)

    return demand


def zone(property: str) -> Check:
    """`property` is an availability zone of the provider's region."""

    def check(request: Request) -> Iterator[Problem]:
        wanted = request.known(property)
        zones = request.cloud_rules.zones.get(request.region, ())
        if wanted is not None and wanted not in zones:
            known = ", ".join(zones)
            yield Problem(property, f"{wanted!r} is not a zone of {request.region}; it has {known}")

    return check


def port_numbers(first: Any, last: Any) -> str:
    """Why two numbers are no range of ports; empty when they are one."""
    try:
        low, high = int(first), int(last)
    except (TypeError, ValueError):
        return f"{first!r} to {last!r} are not two port numbers"
    if not 0 <= low <= _PORTS or not 0 <= high <= _PORTS:
        return f"ports go from 0 to {_PORTS}"
    return "" if low <= high else f"the first port {low} is above the last port {high}"


def exactly_one(*properties: str) -> Check:
    """One of the properties is given, and only one."""

    def check(request: Request) -> Iterator[Problem]:
        given = [name for name in properties if request.inputs.get(name) not in (None, "")]
        if len(given) != 1:
            names = ", ".join(properties)
            text = f"exactly one of {names} must be given, not {len(given)}"
            yield Problem(given[1] if given else properties[0], text)

    return check


def one_of(property: str, values: Mapping[str, Any] | tuple[str, ...]) -> Check:
    """`property`, if given, is one of the values."""

    def check(request: Request) -> Iterator[Problem]:
        found = request.known(property)
        if found is not None and found not in values:
            yield Problem(property, f"{found!r} is not one of {', '.join(values)}")

    return check
