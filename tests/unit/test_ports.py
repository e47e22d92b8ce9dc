"""Covers lab/world/ports.py."""

from __future__ import annotations

import socket
from pathlib import Path

from lab.world.ports import LAST, free_port


def test_no_port_is_given_twice() -> None:
    given = [free_port() for _ in range(200)]

    assert len({*given}) == len(given)


def test_a_port_in_use_is_not_given() -> None:
    with socket.socket() as user:
        user.bind(("127.0.0.1", free_port() + 1))  # the one it would give next
        user.listen()

        assert user.getsockname()[1] not in {free_port() for _ in range(200)}


def test_no_outgoing_connection_of_this_machine_can_take_one() -> None:
    first = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]

    assert int(first) > LAST
