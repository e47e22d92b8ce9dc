"""What an outsider finds open: every TCP port of an address, tried from a given place."""

from __future__ import annotations

import json
from typing import Final

from lab.world.host import Host

# Plan 4.2, by role: all that the world may connect to.
PLAN: Final = {"control": [80, 443], "ops": [], "relay": [80, 443]}
_PROBE: Final = "/run/scan.py"
# Runs on the machine that looks: a SYN to each port, twice, because the first of a connection may
# be dropped on purpose; who answers SYN and ACK is open. The kernel resets what it did not ask.
_PROGRAM: Final = """
import json, os, select, socket, struct, sys, time
PORTS, BATCH, WAIT, FROM = range(1, 65536), 500, 1.5, 40000

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def syn(source, target, port):
    head = struct.pack("!HHIIBBHHH", FROM, port, 1, 0, 5 << 4, 2, 1024, 0, 0)
    # The sum is the same in whichever order: length and protocol, in words of 16 bits.
    pseudo = source + target + struct.pack("!HH", len(head), socket.IPPROTO_TCP)
    return head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]

def answers(raw, address, until, found):
    while (left := until - time.monotonic()) > 0 and select.select([raw], [], [], left)[0]:
        packet, peer = raw.recvfrom(2048)
        if raw.family == socket.AF_INET:  # only there with the header of IP before it
            packet = packet[(packet[0] & 15) * 4:]
        port, local = struct.unpack("!HH", packet[:4])
        if peer[0] == address and local == FROM and packet[13] & 0x12 == 0x12:
            found.add(port)

def scan(address):
    family, found = socket.AF_INET6 if ":" in address else socket.AF_INET, set()
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect((address, 9))
        source = socket.inet_pton(family, way.getsockname()[0])
    target = socket.inet_pton(family, address)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        for _ in range(2):
            for port in PORTS:
                raw.sendto(syn(source, target, port), (address, 0))
                if port % BATCH == 0:
                    answers(raw, address, time.monotonic() + 0.005, found)
            answers(raw, address, time.monotonic() + WAIT, found)
    return sorted(found)

print(json.dumps({address: scan(address) for address in sys.argv[1:]}))
"""


def open_ports(where: Host, addresses: list[str]) -> dict[str, list[int]]:
    """The TCP ports that accept a connection, by address; some 5 s for each."""
    where.exec(["install", "-m", "600", "/dev/stdin", _PROBE], stdin=_PROGRAM)
    said = where.exec(["python3", _PROBE, *addresses], within=300).stdout
    found: dict[str, list[int]] = json.loads(said)
    return found
