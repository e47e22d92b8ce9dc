"""Distance between hosts: packets between two public addresses arrive some milliseconds late.

The internet's router sends them into a TUN device (see `World.distance`), and this process gives
each of them back after its delay.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import os
import struct
from collections.abc import Callable
from typing import Any, Final

from lab.world import addresses
from lab.world.command import ip
from lab.world.state import State, read_json

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_PACKET: Final = 65536
# Source and destination in a header, by the version at its beginning.
_ADDRESSES: Final = {4: slice(12, 20), 6: slice(8, 40)}

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
    way6 = f"route replace default dev {addresses.FAR} table {addresses.FAR_TABLE}"
    ip(state.namespace("internet"), way6, family=6)
    loop = asyncio.get_running_loop()

    def pass_on() -> None:
        packet = os.read(device, _PACKET)
        delay = delays.get(packet[_ADDRESSES[packet[0] >> 4]])
        if delay is not None:
            loop.call_later(delay, os.write, device, packet)

    loop.add_reader(device, pass_on)
    ready()
    await asyncio.Event().wait()


def _delays(pairs: list[dict[str, Any]]) -> Delays:
    found: Delays = {}
    for pair in pairs:
        one, other = (ipaddress.ip_address(address).packed for address in pair["between"])
        found[one + other] = found[other + one] = pair["milliseconds"] / 1000
    return found
