"""The lab's share of the address space, and the names of its interfaces.

Public addresses of the clouds come from 198.18.0.0/16 (RFC 2544, benchmarking: never routed on
the real internet); who allocates an EIP picks it there, below 198.18.255.0. All IPv6 addresses
are of 2001:db8::/32 (RFC 3849, documentation); clouds take theirs below 2001:db8:f000::.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Final

NAMESERVER: Final = "198.18.255.53"
MIRROR: Final = "198.18.255.80"
OBJECTS: Final = "198.18.255.90"
OBJECTS_INTERNAL: Final = "198.18.255.91"  # what a cloud's hosts reach without a way out
ACME: Final = "198.18.255.14"
DNS_API: Final = "198.18.255.54"
ALWAYS_REACHABLE: Final = (NAMESERVER, OBJECTS_INTERNAL)

UPLINKS: Final = ipaddress.ip_network("198.19.0.0/17")  # one address for each router
INTERNET: Final = "198.19.255.254"  # the router of all routers

SITES: Final = ipaddress.ip_network("203.0.113.0/24")  # RFC 5737: everyone outside the clouds
OPERATOR: Final = "203.0.113.10"
SITES6: Final = ipaddress.IPv6Network("2001:db8:f000::/48")  # one /64 for each
INTERNET6: Final = "2001:db8:f000::1"
OPERATOR6: Final = "2001:db8:f000::10"
FIRST_SITE: Final = 20  # host part of the first address given to a plain host or its network

GATEWAY6: Final = "fe80::1"  # a router to its hosts, and the router of all routers to each
ROUTER6: Final = "fe80::2"  # a router to the router of all routers

UPLINK: Final = "internet"  # a router's interface towards the internet
FAR: Final = "far"  # the internet's device for packets that arrive late
FAR_TABLE: Final = 77


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]  # interface names have 15 characters


def router_side(host: str) -> str:
    """A host's interface as its router sees it."""
    return f"h{_short(host)}"


def internet_side(network: str) -> str:
    """A router's interface as the internet sees it."""
    return f"v{_short(network)}"


def mac(address: str) -> str:
    """A locally administered hardware address, the same for the same IPv4 address."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def uplink(index: int) -> str:
    """The address of the router with that number."""
    return str(UPLINKS[index + 1])
