"""The first steps of a plugin executable: has a plugin forked for it, or becomes one itself.

A run starts one for every provider resource, so this imports next to nothing: `socket` alone
would double the time. Standard streams, folder and variables are handed over, and whichever of
the two processes ends, the other does too.
"""

from __future__ import annotations

import _socket
import os
import sys
from typing import Final

ADDRESS: Final = "LAB_PLUGINS"  # the variable with the path of the plugin host's socket
TAKEN: Final = b"taken"


def main(package: str, version: str) -> None:
    """Serve `package` until the engine ends."""
    host = os.environ.get(ADDRESS)
    if host and _forked(host, request(package, version)):
        return
    from lab import plugin

    plugin.main(package, version)


def request(package: str, version: str) -> bytes:
    """What a plugin host must know; `lab.plugin_host` reads it."""
    # The engine passes the address of its log service as the first argument.
    engine = sys.argv[1] if len(sys.argv) > 1 else ""
    variables = [f"{name}={value}" for name, value in os.environ.items()]
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes as long to import as all else here
    words = [package, version, engine, str(os.getppid()), folder, *variables]
    return os.fsencode("\0".join(words))


def _forked(host: str, request: bytes) -> bool:
    """Wait for the end of the plugin that the host forks; False when there is no such host."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    try:
        connection.connect(host)
        connection.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
        taken = connection.recv(len(TAKEN)) == TAKEN
    except OSError:
        return False
    if taken:
        _wait_for_end_of(connection)
    return taken


def _wait_for_end_of(connection: _socket.socket) -> None:
    """The plugin sends nothing more: returns when it has ended, or pulumi wants us to end."""
    try:
        connection.recv(1)
    except KeyboardInterrupt:
        os._exit(0)  # at once: pulumi ends its plugins one after another
