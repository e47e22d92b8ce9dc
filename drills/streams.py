"""What a joined client notices: its stream from Headscale, and its tunnel to another client."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drills.client import Client
from drills.inside import Running
from drills.sampler import Sampler

EACH: Final = 0.1  # s between two looks at a client's counters
PING_EACH: Final = 0.2  # s
ALIVE: Final = 5.0  # s; while writes flow, Headscale tells every client of them this often
_COUNTER: Final = re.compile(
    r"^controlclient_map_(requests_poll|response_message) (\d+)$", re.MULTILINE
)
_ANSWERED: Final = re.compile(r"icmp_seq=(\d+) ttl=")
_ESTABLISHED: Final = "01"


@dataclass(frozen=True)
class Count:
    """tailscaled's own counters: streams begun, messages received on them."""

    at: float
    streams: int
    messages: int


class StreamWatch(Sampler):
    """Samples of one client's control connection."""

    def __init__(self, client: Client) -> None:
        super().__init__(f"stream of {client.host.name}", EACH)
        self.client = client
        self.counts: list[Count] = []

    def look(self) -> None:
        now = time.monotonic()
        leader = self.client.host.leader()
        try:
            text = _metrics(f"/proc/{leader}/root/run/tailscale/tailscaled.sock")
        except OSError:
            return  # no sample; `stream_back` sees no message
        found = {name: int(value) for name, value in _COUNTER.findall(text)}
        if len(found) == 2:
            self.counts.append(Count(now, found["requests_poll"], found["response_message"]))


def _metrics(path: str) -> str:
    """What `tailscale debug metrics` shows, without a process for each look."""
    connection = http.client.HTTPConnection("local-tailscaled.sock", timeout=2)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(2)
    try:
        connection.sock.connect(path)
        connection.request("GET", "/localapi/v0/metrics")
        return connection.getresponse().read().decode()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def stream_back(counts: Sequence[Count], fault: float, alive_from: float) -> float | None:
    """Seconds from the fault until the client's last new stream delivered; 0 when the old one
    went on, which a message after `alive_from` proves; None when neither is so (yet).
    """
    before = [count for count in counts if count.at <= fault]
    after = [count for count in counts if count.at > fault]
    if not before or not after:
        return None
    newest = after[-1].streams
    if newest == before[-1].streams:
        lived = [c for c in after if c.at > alive_from and c.messages > _at(counts, alive_from)]
        return 0.0 if lived else None
    first = next(index for index, count in enumerate(counts) if count.streams == newest)
    base = counts[first - 1].messages
    delivered = (c.at for c in counts[first:] if c.messages != base)
    return next((at - fault for at in delivered), None)


def _at(counts: Sequence[Count], moment: float) -> int:
    return next((count.messages for count in reversed(counts) if count.at <= moment), 0)


def entries(client: Client, addresses: dict[str, str]) -> list[str]:
    """The control hosts through whose entry a client is connected now; `addresses` leads from
    their public addresses to their names.
    """
    leader = client.host.leader()
    return connected(Path(f"/proc/{leader}/net/tcp").read_text(), addresses)


def connected(table: str, addresses: dict[str, str], port: int = 443) -> list[str]:
    """The names behind the established connections in a /proc/net/tcp."""
    found = set()
    for line in table.splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        host, _, number = remote.partition(":")
        address = socket.inet_ntoa(bytes.fromhex(host)[::-1])
        if state == _ESTABLISHED and int(number, 16) == port and address in addresses:
            found.add(addresses[address])
    return sorted(found)


class Pings(Sampler):
    """Pings from one client to another through the tunnel, one after another."""

    def __init__(self, source: Client, target: Client) -> None:
        super().__init__(f"pings from {source.host.name}", 0)
        self.answers: list[tuple[float, int]] = []  # when, and which
        self._source, self._target = source, target.address
        self._ping: Running | None = None

    def prepare(self) -> None:
        self._ping = Running(
            self._source.host, ["ping", "-n", "-i", str(PING_EACH), "-W", "5", self._target]
        )

    def look(self) -> None:
        assert self._ping is not None
        line = self._ping.stdout.readline()
        if not line and not self._over.is_set():
            raise OSError("ping ended")
        if found := _ANSWERED.search(line):
            self.answers.append((time.monotonic(), int(found[1])))

    def stop(self) -> None:
        self._over.set()
        if self._ping:
            self._ping.end()
        super().stop()

    def lost(self, start: float, end: float) -> int:
        """How many pings between two answered ones, sent in that time, were not answered."""
        return missing([number for at, number in self.answers if start <= at <= end])


def missing(numbers: Sequence[int]) -> int:
    """How many numbers are left out, doubles and disorder aside."""
    present = set(numbers)
    return max(present) - min(present) + 1 - len(present) if present else 0
