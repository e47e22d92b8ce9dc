"""The name server: port 53, UDP and TCP. It reads names.json, and what the DNS APIs added, afresh
after each change.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from lab.world import addresses, zone
from lab.world.model import Record
from lab.world.services import sockets
from lab.world.services.dnsapi import book
from lab.world.state import State, read_json

_log = logging.getLogger(__name__)
_UDP_LIMIT = 1232  # bytes that pass every path unfragmented (DNS flag day 2020)


class Source:
    """The names of two files, declared ones and those made through the DNS APIs; a change of
    either shows in the next answer.
    """

    def __init__(self, declared: Path, live: Path) -> None:
        self._files = (declared, live)
        self._marks: list[tuple[int, int] | None] = []
        self._names = zone.build([])

    def names(self) -> zone.Names:
        marks = [_mark(path) for path in self._files]
        if marks != self._marks:
            content = read_json(self._files[0])
            records = [Record(**entry) for entry in content["records"]]
            zones = {*content["zones"], *(record.zone for record in records)}
            records += [e.record for e in book.live(self._files[1]) if e.record.zone in zones]
            self._names, self._marks = zone.build(records, content["zones"]), marks
            _log.info("%d records in %d zones", len(records), len(self._names.zones))
        return self._names

    def reply(self, wire: bytes, limit: int) -> bytes | None:
        """The answer to a query, None when it is not one; over `limit` bytes it says that it is
        cut, and the client asks again by TCP.
        """
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            _log.info("not a query: %s", wire.hex())
            return None
        try:
            answer = self.names().answer(query)
        except (dns.exception.DNSException, OSError, ValueError):
            _log.exception("cannot answer %s", query.question)
            answer = dns.message.make_response(query)
            answer.set_rcode(dns.rcode.SERVFAIL)
        try:
            return answer.to_wire(max_size=limit)
        except dns.exception.TooBig:
            cut = dns.message.make_response(query, recursion_available=True)
            cut.flags |= dns.flags.TC
            return cut.to_wire()


def _mark(path: Path) -> tuple[int, int] | None:
    """What changes with a file's content; None while there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, source: Source) -> None:
        self._source = source

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._source.reply(data, _UDP_LIMIT)
        if answer is not None:
            self._transport.sendto(answer, addr)


async def _converse(
    source: Source, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = source.reply(await reader.readexactly(length), 65535)
            if answer is None:
                break
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        _log.debug("the client closed")
    finally:
        writer.close()


def serve(state: State, ready: Callable[[], None]) -> None:
    """Answer until killed."""
    asyncio.run(_serve(state, ready))


async def _serve(state: State, ready: Callable[[], None]) -> None:
    source = Source(state.names, state.dns_live)
    loop = asyncio.get_running_loop()
    datagrams = sockets.udp(state, addresses.NAMESERVER, 53)
    await loop.create_datagram_endpoint(lambda: _Datagrams(source), sock=datagrams)
    streams = sockets.tcp(state, addresses.NAMESERVER, 53)
    server = await asyncio.start_server(
        lambda reader, writer: _converse(source, reader, writer), sock=streams
    )
    ready()
    await server.serve_forever()
