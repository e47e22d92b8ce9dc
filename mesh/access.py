"""What an access policy opens: who reaches what, on which ports, and as whom by SSH.

A model of Headscale 0.29 and of its clients, without a network: review reads it, and tests hold
it against the real programs. It expects a policy that `mesh.policy_rules` finds no fault with.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from mesh.ports import ALL, Ports

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MESH: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("100.64.0.0/10"),
    ipaddress.ip_network("fd7a:115c:a1e0::/48"),
)
# Inside the first, but of Chrome OS: "*" leaves it out.
_NOT_MESH: Final = ipaddress.ip_network("100.115.92.0/23")

# What a rule opens that names no protocol. Ping comes with every rule: see `allows`.
DEFAULT_PROTOCOLS: Final = ("tcp", "udp")
PROTOCOLS: Final[Mapping[str, str]] = {
    "1": "icmp", "2": "igmp", "4": "ipv4", "6": "tcp", "8": "egp", "9": "igp", "17": "udp",
    "47": "gre", "50": "esp", "51": "ah", "58": "ipv6-icmp", "132": "sctp", "133": "fc",
    "ip-in-ip": "ipv4",
}  # fmt: skip
_PINGS: Final = ("icmp", "ipv6-icmp")

# How a login reads, and how it is kept among the services of a line.
_AS: Final = {"accept": "as", "check": "after a check as"}

Line = tuple[str, str]  # source, destination
Services = Mapping[str, Ports]  # by protocol, or by "as root" for SSH


@dataclass(frozen=True, kw_only=True)
class Node:
    """A device of a user, or a server with tags; without an address no host alias means it."""

    user: str | None = None  # "zhangsan", as in users.yaml
    tags: frozenset[str] = frozenset()
    address: Address | None = None

    @property
    def owner(self) -> str | None:
        """The user whose device it is; a node with tags is nobody's."""
        return None if self.tags else self.user


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One source may use some ports of one destination."""

    source: str
    destination: str
    protocol: str | None  # None: the rule names none
    ports: Ports


@dataclass(frozen=True, kw_only=True)
class Login:
    """One source may log in at one destination by Tailscale SSH."""

    source: str
    destination: str
    users: tuple[str, ...]
    action: Literal["accept", "check"]


@dataclass(frozen=True)
class Policy:
    """A policy's value, as `mesh.hujson` reads it."""

    value: Mapping[str, Any]

    @cached_property
    def groups(self) -> dict[str, frozenset[str]]:
        """Members by group, as users.yaml names them."""
        groups = self.value.get("groups", {})
        return {name: frozenset(map(_user, members)) for name, members in groups.items()}

    @cached_property
    def hosts(self) -> dict[str, Network]:
        """Addresses by alias."""
        hosts = self.value.get("hosts", {})
        return {name: ipaddress.ip_network(text, strict=False) for name, text in hosts.items()}

    @cached_property
    def openings(self) -> tuple[Opening, ...]:
        """Everything that `acls` and `grants` open. Without both, Headscale opens everything."""
        if "acls" not in self.value and "grants" not in self.value:
            return (Opening(source="*", destination="*", protocol=None, ports=ALL),)
        return (*self._acls(), *self._grants())

    @cached_property
    def logins(self) -> tuple[Login, ...]:
        """Everything that `ssh` opens."""
        return tuple(
            Login(
                source=source,
                destination=destination,
                users=tuple(rule["users"]),
                action=rule["action"],
            )
            for rule in self.value.get("ssh", ())
            for source in rule["src"]
            for destination in rule["dst"]
        )

    def _acls(self) -> Iterator[Opening]:
        for rule in self.value.get("acls", ()):
            protocol = protocol_name(rule.get("proto", ""))
            for source in rule["src"]:
                for text in rule["dst"]:
                    destination, ports = split_destination(text)
                    yield Opening(
                        source=source,
                        destination=destination,
                        protocol=protocol,
                        ports=Ports.parse(ports),
                    )

    def _grants(self) -> Iterator[Opening]:
        for rule in self.value.get("grants", ()):
            for source in rule["src"]:
                for destination in rule["dst"]:
                    for text in rule.get("ip", ()):
                        protocol, _, ports = text.rpartition(":")
                        yield Opening(
                            source=source,
                            destination=destination,
                            protocol=protocol_name(protocol),
                            ports=Ports.parse(ports),
                        )


def split_destination(text: str) -> tuple[str, str]:
    """What is meant and which ports: "[fd7a::1]:22" gives "fd7a::1" and "22"."""
    destination, _, ports = text.rpartition(":")
    return destination.replace("[", "").replace("]", ""), ports


def protocol_name(text: str) -> str | None:
    """The one name of a protocol that has a number and names; None when a rule names none."""
    return PROTOCOLS.get(text.lower(), text.lower()) or None


def _user(name: str) -> str:
    return name.removesuffix("@")


def allows(policy: Policy, source: Node, destination: Node, port: int, protocol: str) -> bool:
    """Whether a connection from `source` may begin; `port` means nothing to a ping.

    As the clients have it: whoever may use any port of an address may also ping it.
    """
    return any(
        is_source(policy, opening.source, source)
        and is_destination(policy, opening.destination, source, destination)
        and _serves(opening, port, protocol)
        for opening in policy.openings
    )


def acquainted(policy: Policy, one: Node, other: Node) -> bool:
    """Whether Headscale tells two nodes of each other: when a rule opens any port, either way."""
    return any(
        is_source(policy, opening.source, source)
        and is_destination(policy, opening.destination, source, destination)
        for opening in policy.openings
        for source, destination in ((one, other), (other, one))
    )


def _serves(opening: Opening, port: int, protocol: str) -> bool:
    if protocol in _PINGS:
        return True
    known = DEFAULT_PROTOCOLS if opening.protocol is None else (opening.protocol,)
    return protocol in known and port in opening.ports


def login(
    policy: Policy, source: Node, destination: Node, user: str
) -> Literal["accept", "check"] | None:
    """How `source` gets in by Tailscale SSH as `user`: at once, after a check, or not at all.

    Headscale puts checks before what is accepted. Port 22 must be open too: `allows` tells.
    """
    actions = {
        entry.action
        for entry in policy.logins
        if is_source(policy, entry.source, source)
        and is_destination(policy, entry.destination, source, destination)
        and (user in entry.users or (user != "root" and "autogroup:nonroot" in entry.users))
    }
    return "check" if "check" in actions else "accept" if actions else None


def is_source(policy: Policy, name: str, node: Node) -> bool:
    return name == "autogroup:danger-all" or _means(policy, name, node)


def is_destination(policy: Policy, name: str, source: Node, node: Node) -> bool:
    if name == "*":  # Headscale 0.29.2 sends it as it is: subnets behind a node as well
        return True
    if name == "autogroup:self":
        return source.owner is not None and source.owner == node.owner
    if name == "autogroup:internet":
        return node.address is not None and node.address.is_global
    return _means(policy, name, node)


def _means(policy: Policy, name: str, node: Node) -> bool:
    """Whether a name of the policy means a node."""
    if name == "*":
        return node.address is None or _in_mesh(node.address)
    if name.startswith("tag:"):
        return name in node.tags
    if name.startswith("group:"):
        return node.owner in policy.groups.get(name, ())
    if name.startswith("autogroup:"):
        known = {"autogroup:tagged": bool(node.tags), "autogroup:member": node.owner is not None}
        return known.get(name, False)
    if "@" in name:
        return node.owner == _user(name)
    network = policy.hosts.get(name) or address_of(name)
    return network is not None and node.address is not None and node.address in network


def _in_mesh(address: Address) -> bool:
    return any(address in network for network in MESH) and address not in _NOT_MESH


def address_of(name: str) -> Network | None:
    """The address or network that a policy writes out, or None for a name."""
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        return None


# What review reads


def reach(policy: Policy) -> dict[str, dict[str, str]]:
    """What every source reaches: source → destination → ports; sorted, and the same for policies
    that mean the same. A user has what its groups have, so that a new member shows as well.
    """
    made: dict[str, dict[str, str]] = {}
    for (source, destination), services in sorted(_expanded(policy).items()):
        made.setdefault(source, {})[destination] = _words(services)
    return made


def difference(before: Policy, after: Policy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a change opens and what it closes, a line each: "group:dba → tag:db: tcp+udp 5432".

    Users have lines of their own only where they gain or lose more than a group of theirs does.
    """
    return _gains(before, after), _gains(after, before)


def _gains(before: Policy, after: Policy) -> tuple[str, ...]:
    old, new = _expanded(before), _expanded(after)
    gained = {line: _without(new[line], old.get(line, {})) for line in new}
    lines = []
    for (source, destination), services in sorted(gained.items()):
        for group in before.groups.keys() & after.groups.keys():
            if all(_user(source) in policy.groups[group] for policy in (before, after)):
                services = _without(services, gained.get((group, destination), {}))
        if services:
            lines.append(f"{source} → {destination}: {_words(services)}")
    return tuple(lines)


def _without(services: Services, others: Services) -> dict[str, Ports]:
    left = {
        name: ports.without(others[name]) if name in others else ports
        for name, ports in services.items()
    }
    return {name: ports for name, ports in left.items() if ports}


def _expanded(policy: Policy) -> dict[Line, dict[str, Ports]]:
    """Every line's services; a user's hold those of its groups."""
    made: dict[Line, dict[str, Ports]] = {}
    for source, destination, name, ports in _entries(policy):
        members = (f"{user}@" for user in policy.groups.get(source, ()))
        for each in (source, *members):
            services = made.setdefault((each, destination), {})
            services[name] = ports | services[name] if name in services else ports
    return made


def _entries(policy: Policy) -> Iterator[tuple[str, str, str, Ports]]:
    for opening in policy.openings:
        for name in DEFAULT_PROTOCOLS if opening.protocol is None else (opening.protocol,):
            yield opening.source, opening.destination, name, opening.ports
    for entry in policy.logins:
        for user in entry.users:
            yield entry.source, f"ssh {entry.destination}", f"{_AS[entry.action]} {user}", ALL


def _words(services: Services) -> str:
    """ "tcp+udp 22,80; icmp *", or "as root, ubuntu" for SSH."""
    names = sorted(services)
    logins = [
        f"{words} {', '.join(users)}"
        for words in _AS.values()
        if (users := [name.removeprefix(f"{words} ") for name in names if name.startswith(words)])
    ]
    by_ports: dict[Ports, list[str]] = {}
    for name in names:
        if not name.startswith(tuple(_AS.values())):
            by_ports.setdefault(services[name], []).append(name)
    ports = sorted(f"{'+'.join(names)} {ports}" for ports, names in by_ports.items())
    return "; ".join([*ports, *logins])
