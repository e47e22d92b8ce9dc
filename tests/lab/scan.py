"""What an outsider finds open: every TCP port of an address, tried from a given place."""

from __future__ import annotations

import json
from typing import Final

from lab.world.host import Host

# Runs on the machine that looks. A port that is filtered says nothing: 1 s is far beyond the
# lab's way there and back.
_PROGRAM: Final = """
import asyncio, json, sys
async def tried(address, port, room):
    async with room:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 1)
        except (OSError, asyncio.TimeoutError):
            return None
        writer.close()
        return port
async def main(addresses):
    room = asyncio.Semaphore(4000)
    found = {}
    for address in addresses:
        ports = await asyncio.gather(*(tried(address, p, room) for p in range(1, 65536)))
        found[address] = [port for port in ports if port]
    print(json.dumps(found))
asyncio.run(main(sys.argv[1:]))
"""


def open_ports(where: Host, addresses: list[str]) -> dict[str, list[int]]:
    """The TCP ports that accept a connection, by address; 20 s for each address."""
    found: dict[str, list[int]] = {}
    for address in addresses:
        command = ["sh", "-c", 'ulimit -n 8192; exec python3 - "$0"', address]
        said = where.exec(command, stdin=_PROGRAM, within=300).stdout
        found |= json.loads(said)
    return found
