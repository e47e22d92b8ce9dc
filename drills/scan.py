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
    pseudo = source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
    return head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]

def answers(raw, target, until, found):
    while (left := until - time.monotonic()) > 0 and select.select([raw], [], [], left)[0]:
        packet = raw.recv(2048)
        start = (packet[0] & 15) * 4
        port, local = struct.unpack("!HH", packet[start:start + 4])
        if packet[12:16] == target and local == FROM and packet[start + 13] & 0x12 == 0x12:
            found.add(port)

def scan(address):
    target, found = socket.inet_aton(address), set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((address, 9))
        source = socket.inet_aton(way.getsockname()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        for _ in range(2):
            for port in PORTS:
                raw.sendto(syn(source, target, port), (address, 0))
                if port % BATCH == 0:
                    answers(raw, target, time.monotonic() + 0.005, found)
            answers(raw, target, time.monotonic() + WAIT, found)
    return sorted(found)

print(json.dumps({address: scan(address) for address in sys.argv[1:]}))
"""


def open_ports(where: Host, addresses: list[str]) -> dict[str, list[int]]:
    """The TCP ports that accept a connection, by address; some 5 s for each."""
    where.exec(["install", "-m", "600", "/dev/stdin", _PROBE], stdin=_PROGRAM)
    said = where.exec(["python3", _PROBE, *addresses], within=300).stdout
    found: dict[str, list[int]] = json.loads(said)
    return found
