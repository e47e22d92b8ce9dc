"""Ports of loopback for programs that run for a while on this machine itself."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator
from typing import Final

# Below what Linux gives to outgoing connections (ip_local_port_range): between the question and
# the program's start, no connection of anybody's can take such a port.
FIRST: Final = 20000
LAST: Final = 32767


def _round() -> Iterator[int]:
    """Each of them in turn, from anywhere, so that two processes rarely meet."""
    whole = range(FIRST, LAST + 1)
    start = random.randrange(len(whole))
    return itertools.cycle([*whole[start:], *whole[:start]])


_ports: Final = _round()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on; two calls in one process do not give the same.

    OSError when none of them is free.
    """
    for port in itertools.islice(_ports, LAST - FIRST + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"all ports of 127.0.0.1 from {FIRST} to {LAST} are in use")
