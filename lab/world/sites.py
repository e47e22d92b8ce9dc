"""Plain hosts outside any cloud, such as VPN clients: at home, in an office, in a machine room.

A site is a network behind one public address, as a household's router has it: its hosts reach
everyone, nobody reaches them. A public host has an address of its own and no firewall in front.
A host that asks for IPv6 has an address by which it reaches everyone, too, and nobody reaches it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final

from lab.world import addresses
from lab.world.errors import WorldError
from lab.world.model import Attachment, Group, Model, Network, Part, Rule, Subnet

OWNER: Final = "sites"
DEFAULT: Final = "home"
_PRIVATE: Final = ipaddress.IPv4Network("192.168.0.0/16")  # one /24 for each site
_OPEN: Final = Group(
    id="open",
    rules=(Rule(direction="in"), Rule(direction="out"), Rule(direction="out", peer="::/0")),
)
_FIRST_HOST: Final = 10


def add(
    model: Model, host: str, site: str = DEFAULT, *, public: bool = False, ipv6: bool = False
) -> Part:
    """The sites with one more host; WorldError when the name is taken anywhere."""
    if model.place(host) is not None:
        raise WorldError(f"there is a host {host} already")
    part = model.parts.get(OWNER, Part())
    found = next((known for known in part.networks if known.id == _id(site)), None)
    taken = {address for known in part.networks for address in known.public_addresses()}
    network = found or _site(site, len(part.networks), _free(taken))
    own = _free(taken | network.public_addresses()) if public else None
    grown = replace(network, attachments=(*network.attachments, _place(network, host, own, ipv6)))
    others = tuple(known for known in part.networks if known.id != network.id)
    return replace(part, networks=(*others, grown))


def remove(model: Model, host: str) -> Part:
    """The sites without a host, and without its network when it was the last one there."""
    part = model.parts.get(OWNER, Part())
    left = (
        replace(known, attachments=tuple(a for a in known.attachments if a.host != host))
        for known in part.networks
    )
    return replace(part, networks=tuple(known for known in left if known.attachments))


def _id(site: str) -> str:
    return f"site-{site}"


def _site(name: str, index: int, public: str) -> Network:
    cidr = list(_PRIVATE.subnets(new_prefix=24))[index + 1]
    ipv6 = list(addresses.SITES6.subnets(new_prefix=56))[index + 1]  # a /64 of each
    subnet = Subnet(id=name, cidr=str(cidr), gateway=str(cidr[1]), nat=public, ipv6=f"{ipv6[0]}/64")
    return Network(id=_id(name), cidrs=(str(cidr),), subnets=(subnet,), groups=(_OPEN,))


def _place(network: Network, host: str, public: str | None, ipv6: bool) -> Attachment:
    (subnet,) = network.subnets
    taken = {place.address for place in network.attachments}
    hosts = map(str, list(ipaddress.ip_network(subnet.cidr).hosts())[_FIRST_HOST - 1 :])
    address = next(free for free in hosts if free not in taken)
    groups = (_OPEN.id,)
    place = Attachment(host=host, subnet=subnet.id, address=address, groups=groups, public=public)
    if not ipv6:
        return place
    number = int(ipaddress.IPv4Address(address)) % 256
    own = ipaddress.IPv6Network(subnet.ipv6)[number]
    return replace(place, ipv6=str(own), ipv6_open=True)


def _free(taken: set[str]) -> str:
    candidates = map(str, list(addresses.SITES.hosts())[addresses.FIRST_SITE - 1 :])
    return next(free for free in candidates if free not in taken)
