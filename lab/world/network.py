"""Make the declared networks real: routers, their rules, the routes between them, host links.

    operator ──┐
    services ──┤ internet ──┬── router of a network ──┬── host
    (ours)   ──┘            └── router of another ────┴── host

Each box is a network namespace. A host hangs on its router by a cable of its own and the router
answers for the neighbours (proxy ARP), so traffic inside a subnet is filtered like any other.
Callers hold the state's lock, except for `plug` and `unplug`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from lab.world import addresses, netns, ruleset
from lab.world.command import inside, ip, run
from lab.world.errors import WorldError
from lab.world.model import Attachment, Model, Network
from lab.world.state import State, read_json, write_json

Place = tuple[Network, Attachment]
_ROUTER: Final = {
    "net.ipv4.ip_forward": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv6.conf.all.disable_ipv6": 0,
    "net.ipv6.conf.default.disable_ipv6": 0,
    "net.ipv6.conf.all.forwarding": 1,
}
_HOST: Final = {"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.default.disable_ipv6": 0}


def found(state: State) -> None:
    """The internet with the services' addresses, and the operator's workstation."""
    internet, operator = state.namespace("internet"), state.namespace("operator")
    netns.create(internet, _ROUTER)
    netns.create(operator, _HOST)
    own = (
        addresses.INTERNET,
        addresses.NAMESERVER,
        addresses.MIRROR,
        addresses.OBJECTS,
        addresses.OBJECTS_INTERNAL,
        addresses.ACME,
        addresses.DNS_API,
    )
    ip(internet, *(f"addr add {address}/32 dev lo" for address in own))
    _uplink(state, operator, "operator", addresses.OPERATOR)
    ip(operator, f"addr add {addresses.OPERATOR6}/128 dev {addresses.UPLINK} nodad")
    # Of the services only those that call have IPv6, such as the ACME server.
    ip(
        internet,
        f"addr add {addresses.INTERNET6}/128 dev lo nodad",
        _way6("operator", addresses.OPERATOR6),
    )


def apply(state: State, model: Model) -> None:
    """Bring routers, rules and public routes to what the model says; hosts are not touched."""
    record = state.root / "routers.json"
    routers: dict[str, dict[str, str]] = read_json(record, {})
    wanted = {network.id: network for network in model.networks()}
    for id in routers.keys() - wanted.keys():
        _remove_router(state, id)
    routers = {id: known for id, known in routers.items() if id in wanted}
    for id in wanted.keys() - routers.keys():
        routers[id] = {"uplink": _free_uplink(routers)}
        _build_router(state, id, routers[id]["uplink"])
    for id, network in wanted.items():
        _configure(state, network, routers[id], model)
    write_json(record, routers)
    _route_public_addresses(state, model, routers)


def plug(state: State, network: Network, place: Attachment) -> str:
    """A fresh namespace for a host, cabled to its router; its name. The host itself sets the
    address its cloud tells it (`seed`).
    """
    host, router = state.namespace("host", place.host), _router(state, network.id)
    if not netns.exists(router):
        raise WorldError(f"network {network.id} of host {place.host} is not built")
    unplug(state, network.id, place.host)
    cable, card = addresses.router_side(place.host), place.interface
    netns.create(host, _HOST)
    ip(
        router,
        f"link add {cable} type veth peer name {card} netns {host}",
        f"link set {cable} up",
        f"addr add {addresses.GATEWAY6}/64 dev {cable} nodad",
        f"route replace {place.address}/32 dev {cable}",
        *([f"route replace {place.ipv6}/128 dev {cable}"] if place.ipv6 else []),
    )
    netns.set_sysctls(router, _neighbours(cable))
    ip(host, f"link set {card} address {addresses.mac(place.address)}")
    return host


def silence(state: State, network: str, host: str, address: str) -> None:
    """Nothing that a host sends arrives any more, and nobody is told that it is not there."""
    router, cable = _router(state, network), addresses.router_side(host)
    if netns.exists(router):
        ipv6 = [known for known, way in _host_routes6(router).items() if way == cable]
        _cut_cable(router, cable)
        ip(router, *(f"route replace blackhole {own}" for own in (f"{address}/32", *ipv6)))


def unplug(state: State, network: str, host: str) -> None:
    """Remove a host's namespace and cable, with all that the host set up in it."""
    router = _router(state, network)
    if netns.exists(router):
        _cut_cable(router, addresses.router_side(host))
    netns.delete(state.namespace("host", host))


def namespace_of(state: State, host: str) -> str:
    """The namespace of a host; it is there while the host's power is on."""
    return state.namespace("host", host)


def _router(state: State, network: str) -> str:
    return state.namespace("net", network)


def _free_uplink(routers: dict[str, dict[str, str]]) -> str:
    taken = {known["uplink"] for known in routers.values()}
    indices = range(addresses.UPLINKS.num_addresses - 2)
    return next(free for free in map(addresses.uplink, indices) if free not in taken)


def _build_router(state: State, network: str, uplink: str) -> None:
    router = _router(state, network)
    netns.delete(router)  # a crash may have left a part
    netns.create(router, _ROUTER)
    _uplink(state, router, network, uplink)


def _neighbours(cable: str) -> dict[str, int]:
    """The router answers for a host's neighbours, at once: the kernel would wait up to 0.8 s."""
    return {
        f"net.ipv4.conf.{cable}.proxy_arp": 1,
        f"net.ipv4.neigh.{cable}.proxy_delay": 0,
    }


def _remove_router(state: State, network: str) -> None:
    _cut_cable(state.namespace("internet"), addresses.internet_side(network))
    netns.delete(_router(state, network))


def _cut_cable(namespace: str, end: str) -> None:
    """Remove a cable, with its routes, at once: with a namespace alone it would go a while
    later.
    """
    run(["ip", "-n", namespace, "link", "delete", end], check=False)  # it may be gone already


def _uplink(state: State, namespace: str, name: str, address: str) -> None:
    """Cable a namespace to the internet under one public address."""
    far = addresses.internet_side(name)
    ip(
        state.namespace("internet"),
        f"link add {far} type veth peer name {addresses.UPLINK} netns {namespace}",
        f"link set {far} up",
        f"addr add {addresses.GATEWAY6}/64 dev {far} nodad",
        f"route replace {address}/32 dev {far}",
    )
    ip(
        namespace,
        f"link set {addresses.UPLINK} up",
        f"addr add {address}/32 dev {addresses.UPLINK}",
        f"addr add {addresses.ROUTER6}/64 dev {addresses.UPLINK} nodad",
        f"route add {addresses.INTERNET}/32 dev {addresses.UPLINK}",
        f"route add default via {addresses.INTERNET}",
        f"route add default via {addresses.GATEWAY6} dev {addresses.UPLINK}",
    )


def _configure(state: State, network: Network, known: dict[str, str], model: Model) -> None:
    rules = ruleset.router(network, known["uplink"], model)
    gateways = sorted(subnet.gateway for subnet in network.subnets)
    places6 = [[place.host, place.ipv6] for place in network.attachments]
    mark = hashlib.sha256(json.dumps([rules, gateways, places6]).encode()).hexdigest()
    if known.get("mark") == mark:
        return
    router = _router(state, network.id)
    _set_gateways(router, set(gateways))
    _route_hosts6(router, network)
    run(inside(router, ["nft", "-f", "-"]), stdin=rules)
    known["mark"] = mark


def _set_gateways(router: str, wanted: set[str]) -> None:
    (loopback,) = json.loads(run(["ip", "-n", router, "-j", "-4", "addr", "show", "lo"]).stdout)
    present = {address["local"] for address in loopback["addr_info"]} - {"127.0.0.1"}
    gone = (f"addr del {address}/32 dev lo" for address in present - wanted)
    ip(router, *gone, *(f"addr add {address}/32 dev lo" for address in wanted - present))


def _route_hosts6(router: str, network: Network) -> None:
    """A host may get its IPv6 address, or lose it, while its cable is in place."""
    links = json.loads(run(["ip", "-n", router, "-j", "link", "show"]).stdout)
    cables = {link["ifname"] for link in links}
    wanted = {
        place.ipv6: addresses.router_side(place.host)
        for place in network.attachments
        if place.ipv6 and addresses.router_side(place.host) in cables
    }
    declared = {place.ipv6 for place in network.attachments}  # one may be off, and silent
    gone = (f"route del {address}" for address in _host_routes6(router).keys() - declared)
    ip(router, *gone, *(f"route replace {own}/128 dev {way}" for own, way in wanted.items()))


def _host_routes6(router: str) -> dict[str, str]:
    """Address → interface of each route to a single address but a router's own."""
    routes = json.loads(run(["ip", "-n", router, "-j", "-6", "route", "show"]).stdout)
    return {
        route["dst"]: route["dev"]
        for route in routes
        if "/" not in route["dst"]
        and route["dst"] != "default"
        and route.get("protocol") != "kernel"
    }


def _way6(network: str, address: str) -> str:
    way = f"via {addresses.ROUTER6} dev {addresses.internet_side(network)}"
    return f"route replace {address}/128 {way}"


def _route_public_addresses(state: State, model: Model, routers: dict[str, dict[str, str]]) -> None:
    internet = state.namespace("internet")
    wanted = {
        address: _way(routers[network.id]["uplink"], addresses.internet_side(network.id))
        for network in model.networks()
        for address in network.public_addresses()
    }
    routes = json.loads(run(["ip", "-n", internet, "-j", "-4", "route", "show"]).stdout)
    present = {
        route["dst"]: _way(route["gateway"], route["dev"]) for route in routes if "gateway" in route
    }
    gone = (f"route del {address}" for address in present.keys() - wanted.keys())
    new = (
        f"route replace {address} {way}"
        for address, way in wanted.items()
        if present.get(address) != way
    )
    ip(internet, *gone, *new)
    wanted6 = {
        address: network.id for network in model.networks() for address in network.open_ipv6()
    }
    present6 = _host_routes6(internet).keys() - {addresses.OPERATOR6}
    ip(
        internet,
        *(f"route del {address}" for address in present6 - wanted6.keys()),
        *(_way6(network, address) for address, network in wanted6.items()),
    )


def _way(router: str, device: str) -> str:
    return f"via {router} dev {device} onlink"
