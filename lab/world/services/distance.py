"""Distance between hosts: packets between two public addresses arrive some milliseconds late.

The internet's router sends them into a TUN device (see `World.distance`), and this process gives
each of them back after its delay.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from lab.world import addresses
from lab.world.command import ip
from lab.world.state import State, read_json

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_PACKET: Final = 65536
_ADDRESSES: Final = slice(12, 20)  # source and destination, in an IPv4 header

Delays = dict[bytes, float]  # seconds, by the two addresses


def serve(state: State, ready: Callable[[], None]) -> None:
    """Delay until killed."""
    asyncio.run(_serve(state, ready))


async def _serve(state: State, ready: Callable[[], None]) -> None:
    delays = _delays(read_json(state.distances))
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", addresses.FAR.encode(), _IFF_TUN_NO_PI))
    ip(
        state.namespace("internet"),
        f"link set {addresses.FAR} up",
        f"route replace default dev {addresses.FAR} table {addresses.FAR_TABLE}",
    )
    loop = asyncio.get_running_loop()

    def pass_on() -> None:
        packet = os.read(device, _PACKET)
        delay = delays.get(packet[_ADDRESSES])
        if delay is not None:
            loop.call_later(delay, os.write, device, packet)

    loop.add_reader(device, pass_on)
    ready()
    await asyncio.Event().wait()


def _delays(pairs: list[dict[str, Any]]) -> Delays:
    found: Delays = {}
    for pair in pairs:
        one, other = (socket.inet_aton(address) for address in pair["between"])
        found[one + other] = found[other + one] = pair["milliseconds"] / 1000
    return found
