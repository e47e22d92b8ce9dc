"""What an outsider hears by UDP: each port of a list, asked in the words of several protocols.

What is told apart: a port that answers; one for which the host (or a firewall) sends an ICMP error;
and silence. A kernel sends few ICMP errors a second, so a refused port may pass for a silent one,
but never for one that answers. What cannot be seen from outside: a service that answers nobody it
does not know, as WireGuard does, is silent too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab.world.host import Host

STUN: Final = 3478
PORTS: Final = (
    *(53, 67, 69, 111, 123, 137, 161, 389, 443, 500, 514),  # DNS … SNMP … QUIC, IKE, syslog
    *(1194, 1434, 1701, 1900, 2049, STUN, 3479, 4500, 4789, 5353, 5355),  # OpenVPN … VXLAN, mDNS
    *(5349, 6081, 8125, 8472, 9090, 10000, 11211, 19302, 41641, 51820),  # … Tailscale, WireGuard
)
_PROBE: Final = "/run/udp.py"
# Runs on the machine that looks. Tailscale's STUN server answers only requests with its client's
# SOFTWARE and a FINGERPRINT (RFC 5389, 15.5); others answer the plain one.
PROGRAM: Final = """
import ipaddress, json, os, selectors, socket, struct, sys, time, zlib
from operator import xor
MAGIC, ROUNDS, WAIT = 0x2112A442, 2, 1.5
TRANSACTION = os.urandom(12)
KEY = struct.pack("!I", MAGIC) + TRANSACTION

def request(attributes):
    return struct.pack("!HHI", 1, len(attributes), MAGIC) + TRANSACTION + attributes

software = struct.pack("!HH", 0x8022, 8) + b"tailnode"
unsigned = struct.pack("!HHI", 1, len(software) + 8, MAGIC) + TRANSACTION + software
fingerprint = struct.pack("!HHI", 0x8028, 4, zlib.crc32(unsigned) ^ 0x5354554E)
WORDS = (
    request(software + fingerprint),
    request(b""),
    bytes.fromhex("123401000001000000000000") + bytes.fromhex("0000020001"),  # DNS: NS of the root
    bytes([0x1B]) + bytes(47),  # NTP, version 3, client
    bytes.fromhex("302902010104067075626c6963a01c020400000001020100020100"  # SNMP: sysDescr
                  "300e300c06082b060102010101000500"),
    bytes([0xC0]) + bytes.fromhex("1a2a3a4a") + bytes([8]) + bytes(8) + bytes(1186),  # QUIC
    bytes([0x38]) + bytes(8) + bytes(5),  # OpenVPN: hard reset by a client
)

def mapped(answer):
    # The address from which the server saw our request; None when this is not its answer.
    if len(answer) < 20 or answer[:2] != bytes([1, 1]) or answer[8:20] != TRANSACTION:
        return None
    at = 20
    while at + 4 <= len(answer):
        kind, length = struct.unpack("!HH", answer[at:at + 4])
        if kind == 0x20:  # XOR-MAPPED-ADDRESS; from an IPv6 socket ::ffff:… stands for IPv4
            seen = ipaddress.ip_address(bytes(map(xor, answer[at + 8:at + 4 + length], KEY)))
            return str(getattr(seen, "ipv4_mapped", None) or seen)
        at += 4 + length + -length % 4
    return None

def ask(asking, words, heard):
    try:
        asking.send(words)
    except OSError:  # an ICMP error that came meanwhile
        heard["refusals"].add(asking.getpeername()[1])

def listen(selector, until, heard):
    while (left := until - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            try:
                answer = key.fileobj.recv(2048)
            except OSError:
                heard["refusals"].add(key.data)
                continue
            heard["answers"].add(key.data)
            if (address := mapped(answer)) is not None:
                heard["stun"][key.data] = address

def scan(address, ports):
    heard, selector = {"answers": set(), "refusals": set(), "stun": {}}, selectors.DefaultSelector()
    for port in ports:
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asking.connect((address, port))
        selector.register(asking, selectors.EVENT_READ, port)
    for _ in range(ROUNDS):
        for words in WORDS:
            for key in list(selector.get_map().values()):
                ask(key.fileobj, words, heard)
            listen(selector, time.monotonic() + 0.05, heard)
        listen(selector, time.monotonic() + WAIT, heard)
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    heard["refusals"] -= heard["answers"]
    return {"answers": sorted(heard["answers"]), "refusals": sorted(heard["refusals"]),
            "stun": heard["stun"]}

ports = json.loads(sys.argv[1])
print(json.dumps({address: scan(address, ports) for address in sys.argv[2:]}))
"""


@dataclass(frozen=True)
class Heard:
    """What the ports of one address said."""

    answers: tuple[int, ...]  # ports that sent any datagram back
    refusals: tuple[int, ...]  # ports for which an ICMP error came, and no answer
    stun: dict[int, str]  # ports that answered a STUN request, with the address they saw it from


def heard(where: Host, addresses: Sequence[str]) -> dict[str, Heard]:
    """What a machine hears of PORTS, by address; some 4 s for each."""
    where.exec(["install", "-m", "600", "/dev/stdin", _PROBE], stdin=PROGRAM)
    line = ["python3", _PROBE, json.dumps(PORTS), *addresses]
    return read(where.exec(line, within=300).stdout)


def read(said: str) -> dict[str, Heard]:
    """What the program printed."""
    return {
        address: Heard(
            answers=tuple(one["answers"]),
            refusals=tuple(one["refusals"]),
            stun={int(port): seen for port, seen in one["stun"].items()},
        )
        for address, one in json.loads(said).items()
    }
