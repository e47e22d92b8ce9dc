"""Covers the UDP scan of an outsider against ports of this machine's loopback."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from operator import xor
from typing import Final

from drills import udp

HERE = "127.0.0.1"
_BINDING: Final = bytes.fromhex("000100142112a442")  # with the attributes of Tailscale's clients
Answer = Callable[[bytes], bytes | None]


def scan(*ports: int) -> udp.Heard:
    """What the program hears of ports of the loopback."""
    command = [sys.executable, "-c", udp.PROGRAM, json.dumps(ports), HERE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return udp.read(done.stdout)[HERE]


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """The port of a service that answers datagrams as told, until the end of the block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as serving:
        serving.bind((HERE, 0))
        ended = b"end of the test"

        def serve() -> None:
            while (received := serving.recvfrom(2048))[0] != ended:
                if (said := answer(received[0])) is not None:
                    serving.sendto(said, received[1])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield serving.getsockname()[1]
        finally:
            serving.sendto(ended, serving.getsockname())
            thread.join(10)


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HERE, 0))
        return int(free.getsockname()[1])


def test_answers_refusals_and_silence_are_told_apart() -> None:
    with ExitStack() as open_ones:
        talks = open_ones.enter_context(server(lambda _: b"something"))
        silent = open_ones.enter_context(server(lambda _: None))
        closed = closed_port()

        heard = scan(talks, silent, closed)

    assert heard == udp.Heard(answers=(talks,), refusals=(closed,), stun={})


def test_a_service_that_hears_only_its_own_words_is_found() -> None:
    mine: dict[str, Callable[[bytes], bool]] = {
        "DNS": lambda words: words[2:12] == bytes.fromhex("01000001000000000000"),
        "NTP": lambda words: len(words) == 48 and words[0] & 7 == 3,
        "SNMP": lambda words: b"public" in words,
        "QUIC": lambda words: len(words) == 1200 and words[0] & 0x80 != 0,
        "OpenVPN": lambda words: words[0] >> 3 == 7,
        "STUN": lambda words: words[:8] == _BINDING,
    }
    with ExitStack() as open_ones:
        ports = {
            open_ones.enter_context(server(only(is_mine))): name for name, is_mine in mine.items()
        }

        heard = scan(*ports)

    assert sorted(ports[port] for port in heard.answers) == sorted(mine)


def test_the_address_in_an_answer_of_stun_is_read() -> None:
    plain = bytes([192, 0, 2, 7])
    with (
        server(stun(plain)) as four,
        server(
            stun(bytes(10) + b"\xff\xff" + plain)
        ) as six,  # what a socket for both families says
    ):
        assert scan(four, six).stun == {four: "192.0.2.7", six: "192.0.2.7"}


def only(is_mine: Callable[[bytes], bool]) -> Answer:
    """A service that answers some datagrams and no others."""
    return lambda words: b"yes" if is_mine(words) else None


def stun(address: bytes) -> Answer:
    """A STUN server that sees everybody at one address."""

    def answer(words: bytes) -> bytes | None:
        if words[:8] != _BINDING:
            return None
        key = words[4:20]
        value = b"\x00\x01\x00\x00" + bytes(map(xor, address, key))
        attribute = struct.pack("!HH", 0x20, len(value)) + value
        return struct.pack("!HH", 0x101, len(attribute)) + key + attribute

    return answer
