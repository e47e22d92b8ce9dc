"""The topology that follows from the settings: networks, hosts, firewall, public names.

Everything is decided here, including each private address, so that certificates and cluster
membership are known before the first host exists.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final, Literal

from mesh import catalogue
from mesh.catalogue import Cloud
from mesh.settings import Relay, Settings, Size

Role = Literal["control", "database", "ops", "relay"]
Protocol = Literal["tcp", "udp", "icmp", "icmpv6"]
Source = IPv4Network | IPv6Network

EVERYWHERE: Final = IPv4Network("0.0.0.0/0")
EVERYWHERE6: Final = IPv6Network("::/0")
_IPV6_HOST: Final = 0x10  # beyond what clouds keep of a subnet: the first four, and the last


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """One subnet in one zone. `public` ones route to the internet by public addresses,
    the others through the network's NAT gateway."""

    name: str  # "public-a", "private-b", or "relay"
    zone: str
    cidr: IPv4Network
    public: bool


@dataclass(frozen=True, kw_only=True)
class Network:
    """One private network (VPC) in one region."""

    name: str  # "home", "derp-bj"
    cloud: Cloud
    region: str
    cidr: IPv4Network
    subnets: tuple[Subnet, ...]
    ipv6: bool = False  # has a range of public IPv6 addresses, which the cloud chooses

    @property
    def needs_nat(self) -> bool:
        """Whether some subnet reaches the internet only through a NAT gateway."""
        return any(not subnet.public for subnet in self.subnets)

    def subnet(self, name: str) -> Subnet:
        """The subnet of that name; KeyError names it when there is none."""
        return {subnet.name: subnet for subnet in self.subnets}[name]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Who may open a connection to a host. ICMP and ICMPv6 have no ports (0–0)."""

    protocol: Protocol
    first_port: int
    last_port: int
    sources: tuple[Source, ...]
    why: str

    @property
    def is_ping(self) -> bool:
        """Whether it has no ports."""
        return self.protocol in ("icmp", "icmpv6")


@dataclass(frozen=True, kw_only=True)
class Host:
    """One machine."""

    name: str  # "hs-1", "pg-2", "ops-1", "derp-bj"
    role: Role
    network: str
    subnet: str
    cloud: Cloud
    region: str
    zone: str
    address: IPv4Address  # private, fixed
    public: bool  # has a public address of its own
    ipv6: bool = False  # has a public IPv6 address, too
    instance_type: str
    size: Size
    bandwidth_mbps: int
    voter: bool  # a member of the etcd cluster
    stateful: bool
    rules: tuple[Rule, ...]  # ingress; anything else is refused

    @property
    def data_device(self) -> str | None:
        """The data disk as the guest sees it, or None without one."""
        if self.size.data_gib is None:
            return None
        return catalogue.OFFERS[self.cloud].data_device


@dataclass(frozen=True, kw_only=True)
class Record:
    """`label` inside the zone, answered with the public addresses of `hosts`: A, and AAAA where
    they have IPv6."""

    label: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Everything that the clouds are asked for."""

    networks: tuple[Network, ...]
    hosts: tuple[Host, ...]
    records: tuple[Record, ...]

    def host(self, name: str) -> Host:
        """The host of that name; KeyError names it when there is none."""
        return {host.name: host for host in self.hosts}[name]

    def network(self, name: str) -> Network:
        """The network of that name; KeyError names it when there is none."""
        return {network.name: network for network in self.networks}[name]

    def having(self, role: Role) -> tuple[Host, ...]:
        """The hosts of a role, in order of their names."""
        return tuple(host for host in self.hosts if host.role == role)

    def peers(self, host: Host) -> tuple[Host, ...]:
        """The other hosts of a host's role."""
        return tuple(peer for peer in self.having(host.role) if peer.name != host.name)

    @property
    def voters(self) -> tuple[Host, ...]:
        """The members of the etcd cluster."""
        return tuple(host for host in self.hosts if host.voter)


def build(settings: Settings) -> Topology:
    """The topology of a stack."""
    home = _home_network(settings)
    relay_networks = tuple(_relay_network(relay) for relay in settings.relays)
    return Topology(
        networks=(home, *relay_networks),
        hosts=(*_home_hosts(settings, home), *(_relay_host(settings, r) for r in settings.relays)),
        records=(
            Record(label=settings.dns.server, hosts=("hs-1", "hs-2")),
            Record(label=f"admin.{settings.dns.server}", hosts=("hs-1", "hs-2")),
            Record(label=f"{settings.dns.server}-monitor", hosts=("ops-1",)),
            *(Record(label=r.host, hosts=(r.host,)) for r in settings.relays),
        ),
    )


def _home_network(settings: Settings) -> Network:
    """Eight parts of the home range: a public one in each of three zones, then private ones."""
    control = settings.control
    parts = list(control.cidr.subnets(prefixlen_diff=3))
    kinds = [("public", True, 0), ("private", False, 3)]
    return Network(
        name="home",
        cloud=control.cloud,
        region=control.region,
        cidr=control.cidr,
        subnets=tuple(
            Subnet(
                name=f"{kind}-{number + 1}", zone=zone, cidr=parts[first + number], public=public
            )
            for kind, public, first in kinds
            for number, zone in enumerate(control.zones[: 3 if public else 2])
        ),
    )


def _relay_network(relay: Relay) -> Network:
    subnet = Subnet(name="relay", zone=relay.zone, cidr=relay.cidr, public=True)
    return Network(
        name=relay.host,
        cloud=relay.cloud,
        region=relay.region,
        cidr=relay.cidr,
        subnets=(subnet,),
        ipv6=relay.ipv6 or catalogue.OFFERS[relay.cloud].early_ipv6,
    )


def _home_hosts(settings: Settings, home: Network) -> tuple[Host, ...]:
    """The pairs in the first two zones, operations in the third."""
    sizes = settings.control
    plan: list[tuple[str, Role, str, int, Size]] = [
        ("hs-1", "control", "public-1", 10, sizes.headscale),
        ("hs-2", "control", "public-2", 10, sizes.headscale),
        ("pg-1", "database", "private-1", 10, sizes.database),
        ("pg-2", "database", "private-2", 10, sizes.database),
        ("ops-1", "ops", "public-3", 10, sizes.operations),
    ]
    return tuple(
        Host(
            name=name,
            role=role,
            network=home.name,
            subnet=subnet,
            cloud=home.cloud,
            region=home.region,
            zone=home.subnet(subnet).zone,
            address=home.subnet(subnet).cidr[number],
            public=home.subnet(subnet).public,
            instance_type=instance_type(home.cloud, size),
            size=size,
            bandwidth_mbps=100,
            voter=role in ("database", "ops"),
            stateful=role in ("database", "ops"),
            rules=_rules(role, settings, home.cidr),
        )
        for name, role, subnet, number, size in plan
    )


def _relay_host(settings: Settings, relay: Relay) -> Host:
    return Host(
        name=relay.host,
        role="relay",
        network=relay.host,
        subnet="relay",
        cloud=relay.cloud,
        region=relay.region,
        zone=relay.zone,
        address=relay.cidr[10],
        public=True,
        ipv6=relay.ipv6,
        instance_type=instance_type(relay.cloud, relay.size),
        size=relay.size,
        bandwidth_mbps=relay.bandwidth_mbps,
        voter=False,
        stateful=False,
        rules=_rules("relay", settings, relay.cidr, ipv6=relay.ipv6),
    )


def instance_type(cloud: Cloud, size: Size) -> str:
    """The cloud's instance type of that size; settings have been checked to name one."""
    return catalogue.OFFERS[cloud].instance_types[size.cpus, size.memory_gib]


def _rules(
    role: Role, settings: Settings, inside: IPv4Network, *, ipv6: bool = False
) -> tuple[Rule, ...]:
    """Who may connect to a host of a role (plan 4.2); `inside` is its own network."""
    everyone: tuple[Source, ...] = (EVERYWHERE, EVERYWHERE6) if ipv6 else (EVERYWHERE,)
    home = (inside,)
    # pg-1 and pg-2 have no public address: operators reach them through ops-1.
    ssh_from = home if role == "database" else settings.admin_cidrs
    rules = [
        _tcp(22, ssh_from, "operators' SSH"),
        _ping("icmp", EVERYWHERE),
    ]
    if ipv6:
        rules.append(_ping("icmpv6", EVERYWHERE6))
    if role in ("control", "relay"):
        rules += [_tcp(80, everyone, "redirect to HTTPS"), _tcp(443, everyone, "HTTPS")]
    if role == "control":
        rules.append(_tcp(8080, home, "the other host's proxy to Headscale"))
        rules.append(_tcp(9105, home, "the guard's metrics"))
    if role == "relay":
        rules.append(
            Rule(protocol="udp", first_port=3478, last_port=3478, sources=everyone, why="STUN")
        )
    if role in ("database", "ops"):
        rules.append(_tcp(2379, home, "etcd clients"))
        rules.append(_tcp(2380, home, "etcd peers"))
    if role == "database":
        rules.append(_tcp(5432, home, "PostgreSQL"))
        rules.append(_tcp(8008, home, "Patroni health checks"))
    return tuple(rules)


def _ping(protocol: Protocol, source: Source) -> Rule:
    why = "ping, path MTU"
    return Rule(protocol=protocol, first_port=0, last_port=0, sources=(source,), why=why)


def _tcp(port: int, sources: tuple[Source, ...], why: str) -> Rule:
    return Rule(protocol="tcp", first_port=port, last_port=port, sources=sources, why=why)


def usable(cloud: Cloud, cidr: IPv4Network) -> tuple[IPv4Address, IPv4Address]:
    """The first and the last address of a subnet that the cloud gives to hosts."""
    offer = catalogue.OFFERS[cloud]
    return (
        ipaddress.IPv4Address(int(cidr.network_address) + offer.reserved_first),
        ipaddress.IPv4Address(int(cidr.broadcast_address) - offer.reserved_last),
    )


def ipv6_subnet(cidr: str) -> str:
    """The IPv6 range of a network's one subnet, a /64; ValueError unless `cidr` is a range."""
    return str(next(IPv6Network(cidr).subnets(new_prefix=64)))


def ipv6_address(cidr: str) -> str:
    """The fixed address of the one host in a subnet with that range; ValueError likewise."""
    return str(IPv6Network(cidr)[_IPV6_HOST])
