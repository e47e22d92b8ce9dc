"""`python -m tests.unit.entry_backend PORT CERTIFICATE KEY`: what Headscale is to the entry.

It answers /version, takes streams over (POST /ts2021) and repeats what is said on them, and never
answers to anything else.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import sys

TAKEN_OVER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {0}\r\nConnection: upgrade\r\n\r\n"
VERSION = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, until the other side ends it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /version "):
            writer.write(VERSION)
        else:
            if head.startswith(b"POST /ts2021 "):
                writer.write(TAKEN_OVER.replace(b"{0}", b"tailscale-control-protocol"))
            while line := await reader.readline():
                writer.write(line)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return  # the proxy has ended it
    finally:
        writer.close()


async def main(port: int, certificate: str, key: str) -> None:
    """Never returns."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:4]))
