"""The nftables rules of a router: what its hosts may send and receive, and under which address.

Pure: a network and the cuts in, text for `nft -f` out. Every packet of a host crosses its
router, so each host has a chain for what it sends and one for what it receives. Replies pass
by connection tracking. Each address family has a table of its own; addresses are translated in
that of IPv4 only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from lab.world import addresses
from lab.world.model import EVERYONE, Attachment, Cut, Direction, Model, Network, Rule


@dataclass(frozen=True)
class _Family:
    """An address family as nftables calls it."""

    word: str  # in conditions, and as the kind of table
    version: int

    def own(self, place: Attachment) -> str | None:
        """A host's address in its network."""
        return place.address if self.version == 4 else place.ipv6

    def of(self, found: Iterable[str]) -> list[str]:
        """Those of the addresses that are of this family."""
        return [a for a in found if ipaddress.ip_address(a).version == self.version]


_V4: Final = _Family("ip", 4)
_V6: Final = _Family("ip6", 6)


def router(network: Network, uplink: str, model: Model) -> str:
    """The whole ruleset of a network's router; loading it replaces the earlier one at once."""
    v4 = [
        *_chain("prerouting", _prerouting(network)),
        *_chain("postrouting", _postrouting(network, uplink)),
        *_chain("forward", _forward(_V4, network, model)),
        *_chain("outward", _outward(network)),
    ]
    v6 = [
        *_chain("forward", _forward(_V6, network, model)),
        *_chain("outward", _outward6(network)),
    ]
    lines = [*_table(_V4, network, v4), *_table(_V6, network, v6)]
    return "\n".join([*lines, ""])


def _table(family: _Family, network: Network, chains: list[str]) -> list[str]:
    name = f"{family.word} lab"
    lines = [f"table {name}", f"delete table {name}", f"table {name} {{", *chains]
    for place in network.attachments:
        end = addresses.router_side(place.host)
        lines += _chain(f"from_{end}", _sent(family, network, place))
        lines += _chain(f"to_{end}", _rules(family, network, place, "in", "accept"))
    return [*lines, "}"]


def _chain(name: str, rules: Iterable[str]) -> list[str]:
    return [f"  chain {name} {{", *(f"    {rule}" for rule in rules), "  }"]


def _prerouting(network: Network) -> Iterator[str]:
    yield "type nat hook prerouting priority dstnat"
    owned = {public: place.address for public, place in _published(network)}
    if owned:
        yield f'iifname "{addresses.UPLINK}" dnat to ip daddr map {_map(owned)}'


def _postrouting(network: Network, uplink: str) -> Iterator[str]:
    yield "type nat hook postrouting priority srcnat"
    owned = {place.address: public for public, place in _published(network)}
    if owned:
        yield f'oifname "{addresses.UPLINK}" snat to ip saddr map {_map(owned)}'
    for subnet in network.subnets:
        if subnet.nat:
            yield f'oifname "{addresses.UPLINK}" ip saddr {subnet.cidr} snat to {subnet.nat}'
    services = _set(addresses.ALWAYS_REACHABLE)
    yield f'oifname "{addresses.UPLINK}" ip daddr {services} snat to {uplink}'


def _forward(family: _Family, network: Network, model: Model) -> Iterator[str]:
    yield "type filter hook forward priority filter; policy drop"
    for cut in model.cuts():
        yield from _cut(family, network, cut, model)
    yield "ct state established,related accept"
    yield "ct state invalid drop"
    if family.version == 6:  # without translation nothing else keeps the others apart
        opened = sorted(network.open_ipv6())
        apart = f"ip6 daddr != {_set(opened)} " if opened else ""
        yield f'iifname "{addresses.UPLINK}" {apart}drop'
    if network.attachments:
        names = [addresses.router_side(place.host) for place in network.attachments]
        senders = {f'"{name}"': f"jump from_{name}" for name in names}
        receivers = {f'"{name}"': f"goto to_{name}" for name in names}
        yield f"iifname vmap {_map(senders)}"
        yield f"oifname vmap {_map(receivers)}"
    yield f'oifname "{addresses.UPLINK}" goto outward'


def _outward(network: Network) -> Iterator[str]:
    """Who may leave the network, once its own groups have agreed."""
    yield f"ip daddr {_set(addresses.ALWAYS_REACHABLE)} accept"
    if owners := [place.address for _, place in _published(network)]:
        yield f"ip saddr {_set(owners)} accept"
    for subnet in network.subnets:
        if subnet.nat:
            yield f"ip saddr {subnet.cidr} accept"


def _outward6(network: Network) -> Iterator[str]:
    if opened := sorted(network.open_ipv6()):
        yield f"ip6 saddr {_set(opened)} accept"


def _published(network: Network) -> Iterator[tuple[str, Attachment]]:
    """Public addresses that work, with the host behind each."""
    for place in network.attachments:
        if place.public and network.subnet(place.subnet).direct:
            yield place.public, place


def _sent(family: _Family, network: Network, place: Attachment) -> Iterator[str]:
    own = family.own(place)
    if own is None:
        yield "drop"
        return
    yield f"{family.word} saddr != {own} drop"  # clouds drop forged senders
    yield from _rules(family, network, place, "out", "return")


def _rules(
    family: _Family, network: Network, place: Attachment, direction: Direction, permit: str
) -> Iterator[str]:
    for rule in _ordered(network, place):
        match = _match(family, network, rule) if rule.direction == direction else None
        if match is not None:
            yield f"{match} {permit if rule.allow else 'drop'}".strip()
    yield "drop"


def _ordered(network: Network, place: Attachment) -> list[Rule]:
    """The rules of a host's groups in the order the cloud consults them."""
    groups = {group.id: group for group in network.groups}
    lists = [groups[id].rules for id in place.groups if id in groups]
    if network.first_group_wins:
        return [rule for rules in lists for rule in sorted(rules, key=_by_priority)]
    return sorted((rule for rules in lists for rule in rules), key=_by_priority)


def _by_priority(rule: Rule) -> tuple[int, bool]:
    return rule.priority, rule.allow


def _match(family: _Family, network: Network, rule: Rule) -> str | None:
    """The condition of a rule; None when nothing can meet it (an empty group, the other family)."""
    peer = _peer(family, network, rule)
    if peer is None:
        return None
    return " ".join(part for part in (peer, _protocol(rule)) if part)


def _peer(family: _Family, network: Network, rule: Rule) -> str | None:
    side = "saddr" if rule.direction == "in" else "daddr"
    if rule.peer.startswith("group:"):
        group = rule.peer.removeprefix("group:")
        places = (place for place in network.attachments if group in place.groups)
        members = [own for own in map(family.own, places) if own]
        return f"{family.word} {side} {_set(members)}" if members else None
    found = ipaddress.ip_network(rule.peer, strict=False)
    if found.version != family.version:
        return None
    return "" if found.prefixlen == 0 else f"{family.word} {side} {found}"


def _protocol(rule: Rule) -> str:
    if rule.protocol == "all":
        return ""
    if rule.protocol in {"tcp", "udp"} and rule.ports and rule.ports != (0, 65535):
        first, last = rule.ports
        return f"{rule.protocol} dport {first}-{last}"
    return f"meta l4proto {rule.protocol}"


def _cut(family: _Family, network: Network, cut: Cut, model: Model) -> Iterator[str]:
    for near, far in (cut.hosts, cut.hosts[::-1]):
        place = network.attachment(near)
        own = family.own(place) if place else None
        others = family.of(seen_as(far, model))
        if own is None or not (others or far == EVERYONE):
            continue
        for here, there in (("saddr", "daddr"), ("daddr", "saddr")):
            pair = f"{family.word} {here} {own} "
            if far != EVERYONE:
                pair += f"{family.word} {there} {_set(others)} "
            yield from (f"{pair}{which}drop" for which in _cut_protocol(cut))


def _cut_protocol(cut: Cut) -> list[str]:
    """The conditions, each with a space after it; what meets one of them is dropped."""
    if cut.protocol is None:
        return [""]
    if cut.protocol in {"tcp", "udp"} and cut.ports:
        ports = _set(map(str, cut.ports))
        return [f"{cut.protocol} {end} {ports} " for end in ("dport", "sport")]
    if cut.protocol in {"tcp", "udp"} and cut.except_ports:
        ports = _set(map(str, cut.except_ports))
        return [f"{cut.protocol} dport != {ports} {cut.protocol} sport != {ports} "]
    return [f"meta l4proto {cut.protocol} "]


def seen_as(host: str, model: Model) -> list[str]:
    """Every address under which other hosts see this one."""
    found = model.place(host)
    if found is None:
        return []
    network, place = found
    seen = (place.address, place.public, network.subnet(place.subnet).nat, place.ipv6)
    return [address for address in seen if address]


def _map(pairs: dict[str, str]) -> str:
    return _set(f"{key} : {value}" for key, value in pairs.items())


def _set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"
