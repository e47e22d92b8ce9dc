"""Routers that answer: a host that asks for one hears of its own, where its subnet has IPv6.

One process for all routers, with a socket in the namespace of each. Hosts ask when IPv6 starts on
their link (RFC 4861); nothing is announced unasked.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Final

from lab.world import addresses, netns
from lab.world.model import Model, from_json
from lab.world.state import State, read_json

_log = logging.getLogger(__name__)
_SOLICITATION: Final = 133
_ADVERTISEMENT: Final = 134
_ICMP_FILTER: Final = 1  # of the level IPPROTO_ICMPV6, in linux/icmpv6.h
_HOPS: Final = 255  # else nobody believes that the sender is on the link
_LIFETIME: Final = 65535  # s, the longest there is (RFC 8319)
_LOOK_SECONDS: Final = 0.5  # a host asks again after 4 s


def serve(state: State, ready: Callable[[], None]) -> None:
    """Answer until killed."""
    asyncio.run(_serve(state, ready))


async def _serve(state: State, ready: Callable[[], None]) -> None:
    doors: dict[str, socket.socket] = {}
    ready()
    while True:
        _open(state, doors)
        await asyncio.sleep(_LOOK_SECONDS)


def _open(state: State, doors: dict[str, socket.socket]) -> None:
    """A socket for each router that is there, and none for those that are gone."""
    loop, present = asyncio.get_running_loop(), netns.names(state.namespace("net"))
    for name in doors.keys() - present:
        loop.remove_reader(doors[name])
        doors.pop(name).close()
    for name in present:
        if name not in doors:
            doors[name] = netns.call(name, _socket)
            loop.add_reader(doors[name], _answer, state, name, doors[name])


def _socket() -> socket.socket:
    opened = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    opened.setblocking(False)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _HOPS)
    refused = bytearray(b"\xff" * 32)  # one bit for each type
    refused[_SOLICITATION // 8] &= ~(1 << _SOLICITATION % 8) & 0xFF
    opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP_FILTER, bytes(refused))
    return opened


def _answer(state: State, router: str, door: socket.socket) -> None:
    _, (host, _, _, link) = door.recvfrom(2048)
    cable = netns.call(router, lambda: socket.if_indextoname(link))
    if not _has_ipv6(from_json(read_json(state.model, {})), cable):
        return
    # Checksum (the kernel's), hops, flags, lifetime, and two times that are not specified.
    said = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, 0, _LIFETIME, 0, 0)
    door.sendto(said, (host, 0, 0, link))
    _log.info("told %s on %s of %s", host, router, cable)


def _has_ipv6(model: Model, cable: str) -> bool:
    """Whether the subnet of the host on a cable has IPv6."""
    return any(
        network.subnet(place.subnet).ipv6
        for network in model.networks()
        for place in network.attachments
        if addresses.router_side(place.host) == cable
    )
