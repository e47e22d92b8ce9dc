"""Covers the entry's real HAProxy under a storm of clients and with a Headscale that is not there.

It runs on loopback with the rendered configuration; only paths, ports and addresses are others.
How fast it is on real hosts is measured by drills and benchmarks.
"""

from __future__ import annotations

import asyncio
import csv
import io
import resource
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from lab.world.command import until
from lab.world.ports import free_port
from mesh import capacity
from tests import bundles, stacks
from tests.guard.certificates import SERVER_NAME, Authority
from tests.guard.waiting import PATIENCE

CLIENTS: Final = 1000
LONG: Final = 180  # s until all are in on a machine that is only busy; it takes ten
# HAProxy asks for file descriptors for all that a host's memory carries; a machine of tests may
# not have so many.
SMALL: Final = {"control.headscale": {"cpus": 1, "memory_gib": 1, "disk_gib": 20}}
STREAM: Final = (
    f"POST /ts2021 HTTP/1.1\r\nHost: {SERVER_NAME}\r\nContent-Length: 0\r\n"
    "Connection: upgrade\r\nUpgrade: tailscale-control-protocol\r\n\r\n"
)
# This machine is the clients and Headscale as well, and may be slow at it: neither is the point.
PATIENT: Final = (
    ("timeout http-request 10s", f"timeout http-request {LONG}s"),
    ("timeout connect 2s", f"timeout connect {LONG}s"),
    ("timeout check 1s", f"timeout check {LONG}s"),
    ("fall 3", "fall 1000"),
)
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Entry:
    """The entry of hs-1 on loopback; a stand-in for Headscale runs from `start` to `stop`."""

    folder: Path
    authority: Authority
    plain: int = field(default_factory=free_port)
    secure: int = field(default_factory=free_port)
    backend: int = field(default_factory=free_port)
    headscale: subprocess.Popen[bytes] | None = None

    def configuration(self) -> str:
        """The rendered one, in this folder and on these ports; the other host is down."""
        text = bundles.files(bundles.build("prod", "hs-1", SMALL))["/etc/haproxy/entry.cfg"].content
        for old, new in {
            "/etc/mesh/tls/ca.crt": str(self.authority.certificate),
            "/etc/mesh/public": str(self.folder),
            "/run/haproxy-entry": str(self.folder),
            "bind :80\n": f"bind 127.0.0.1:{self.plain}\n",
            "bind :443 ": f"bind 127.0.0.1:{self.secure} ",
            "10.10.0.10:8080": f"127.0.0.1:{self.backend}",
            "10.10.2.10:8080": f"127.0.0.1:{free_port()}",
        }.items():
            assert old in text, f"the entry no longer says {old!r}"
            text = text.replace(old, new)
        return text

    @contextmanager
    def running(self, *changes: tuple[str, str]) -> Iterator[None]:
        """HAProxy runs, and answers on its socket."""
        text = self.configuration()
        for old, new in changes:
            assert old in text, f"the entry no longer says {old!r}"
            text = text.replace(old, new)
        (self.folder / "entry.cfg").write_text(text)
        command = ["haproxy", "-db", "-f", str(self.folder / "entry.cfg")]
        with (self.folder / "haproxy.log").open("wb") as log:
            proxy = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: self._listens(proxy), within=PATIENCE, what="HAProxy listens")
            yield
        finally:
            proxy.kill()
            proxy.wait()

    def _listens(self, proxy: subprocess.Popen[bytes]) -> bool:
        log = (self.folder / "haproxy.log").read_text()
        assert proxy.poll() is None, f"HAProxy has ended: {log[-1000:]}"
        with suppress(OSError):
            return bool(self.stat("entry", "FRONTEND"))
        return False

    def start(self) -> None:
        """Returns when HAProxy sees the stand-in."""
        own = self.authority.issue("hs-1")
        module = [sys.executable, "-m", "tests.unit.entry_backend"]
        self.headscale = subprocess.Popen(
            [*module, str(self.backend), str(own.certificate), str(own.key)],
            cwd=stacks.REPOSITORY,
        )
        self.sees("UP")

    def sees(self, status: str) -> None:
        """Returns when HAProxy says that of the stand-in."""
        until(
            lambda: self.stat("headscale", "hs-1")["status"].startswith(status),
            within=PATIENCE,
            what=f"Headscale is {status}",
        )

    def stat(self, proxy: str, server: str) -> dict[str, str]:
        """HAProxy's figures of one part."""
        rows = csv.DictReader(io.StringIO(self._told("show stat").lstrip("# ")))
        return next(r for r in rows if (r["pxname"], r["svname"]) == (proxy, server))

    def info(self) -> dict[str, str]:
        """HAProxy's figures of the whole."""
        lines = (line.partition(": ") for line in self._told("show info").splitlines())
        return {name: value for name, _, value in lines}

    def _told(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(PATIENCE)
            asked.connect(str(self.folder / "admin.sock"))
            asked.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: asked.recv(65536), b"")).decode()

    def signal(self, number: signal.Signals) -> None:
        """To the stand-in."""
        assert self.headscale, "it was never started"
        self.headscale.send_signal(number)

    def stop(self) -> None:
        if self.headscale:
            self.headscale.kill()
            self.headscale.wait()

    async def ask(self, request: str, port: int | None = None) -> tuple[str, Stream]:
        """The first line of the answer, and the connection."""
        trusted = ssl.create_default_context(cafile=str(self.authority.certificate))
        stream = await asyncio.open_connection(
            "127.0.0.1",
            port or self.secure,
            ssl=None if port else trusted,
            server_hostname=None if port else SERVER_NAME,
        )
        stream[1].write(request.encode())
        head = await asyncio.wait_for(stream[0].readuntil(b"\r\n\r\n"), LONG)
        return head.decode().splitlines()[0], stream


@pytest.fixture
def entry(tmp_path: Path) -> Iterator[Entry]:
    """An entry that can be started."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    made = Entry(tmp_path, Authority(tmp_path))
    pair = made.authority.issue("entry")
    (tmp_path / "entry.pem").write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    yield made
    made.stop()


async def storm(entry: Entry, clients: int) -> tuple[list[str], str]:
    """What so many clients that come at once are answered, and what port 80 says meanwhile."""
    asked = [asyncio.create_task(entry.ask(STREAM)) for _ in range(clients)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    plain, _ = await entry.ask(f"GET / HTTP/1.1\r\nHost: {SERVER_NAME}\r\n\r\n", entry.plain)
    return [answer for answer, _ in await asyncio.gather(*asked)], plain


def test_a_storm_of_all_clients_is_spread_and_nobody_is_refused(entry: Entry) -> None:
    with entry.running(*PATIENT):
        entry.start()
        answers, plain = asyncio.run(storm(entry, CLIENTS))
        most, info = entry.stat("entry", "FRONTEND")["smax"], entry.info()

    assert answers == ["HTTP/1.1 101 Switching Protocols"] * CLIENTS
    assert plain == "HTTP/1.1 301 Moved Permanently", "clients try port 80 first"
    assert int(most) >= CLIENTS, "they were all there together"
    assert int(info["SslRateLimit"]) == capacity.arrivals(1000) < CLIENTS
    # A thread that has begun to take connections in takes a few more.
    assert int(info["MaxSslRate"]) <= 1.1 * int(info["SslRateLimit"])


def test_the_kernel_is_asked_to_hold_every_client_that_waits(entry: Entry) -> None:
    with entry.running():
        listed = subprocess.run(
            ["ss", "-Hltn", f"sport = :{entry.secure}"], capture_output=True, text=True, check=True
        )

    assert int(listed.stdout.split()[2]) >= CLIENTS


def test_without_headscale_clients_are_told_at_once_on_both_ports(entry: Entry) -> None:
    with entry.running():
        entry.sees("DOWN")
        answer, _ = asyncio.run(entry.ask(STREAM))
        plain, _ = asyncio.run(entry.ask("GET / HTTP/1.0\r\n\r\n", entry.plain))

    assert answer == "HTTP/1.1 503 Service Unavailable"
    assert plain == "HTTP/1.1 301 Moved Permanently"


def test_streams_of_a_headscale_that_stands_still_are_ended(entry: Entry) -> None:
    async def frozen() -> tuple[bytes, str]:
        _, (reader, _) = await entry.ask(STREAM)
        entry.signal(signal.SIGSTOP)
        ended = await asyncio.wait_for(reader.read(), PATIENCE)
        return ended, (await entry.ask(STREAM))[0]

    with entry.running():
        entry.start()
        ended, answer = asyncio.run(frozen())

    assert ended == b"", "else the client would wait for its own 120 s"
    assert answer == "HTTP/1.1 503 Service Unavailable"


def test_a_question_without_an_answer_ends_and_a_quiet_stream_does_not(entry: Entry) -> None:
    async def both() -> tuple[str, bytes]:
        _, (reader, writer) = await entry.ask(STREAM)
        answer, _ = await entry.ask(f"GET /never HTTP/1.1\r\nHost: {SERVER_NAME}\r\n\r\n")
        writer.write(b"still there\n")
        return answer, await asyncio.wait_for(reader.readline(), PATIENCE)

    with entry.running(("timeout server 60s", "timeout server 1s")):
        entry.start()
        answer, line = asyncio.run(both())

    assert answer == "HTTP/1.1 504 Gateway Time-out"
    assert line == b"still there\n", "it was quiet for as long as the question"
