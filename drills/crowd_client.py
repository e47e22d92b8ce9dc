"""One Tailscale client of a crowd, and what is tried through it; see drills/crowd_agent.py.

Standard library only: it runs on the machine itself.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

POLL = 0.05  # s
SENT_AGAIN = 0.5  # s without an answer to a datagram, which may get lost
END_WITHIN = 10  # s for a client to end in order
# What a client says when its packet filter drops what asks for a connection, or a datagram.
_DROPPED = re.compile(r"Drop: (TCP|UDP)\{(\S+):\d+ > \S+:(\d+)\} \d+ (.+)")
_VERBOSE = {  # each drop is said, not just the first ten
    "TS_DEBUG_FILTER_RATE_LIMIT_LOGS": "all",
    "TS_DEBUG_LOG_RATE": "all",
}


class AgentError(Exception):
    """What to tell who asked."""


class LocalApi(http.client.HTTPConnection):
    """A client's own interface, which the `tailscale` command uses too."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("local-tailscaled.sock", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """One tailscaled."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder = name, folder / name
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket, self.port = self.folder / "socket", free_port()
        self.address = ""  # in the mesh, as last asked
        # By protocol, caller and own port: the reason.
        self.dropped: dict[tuple[str, str, int], str] = {}
        self.last = ""  # line of its log
        self._process = subprocess.Popen(
            [
                *("tailscaled", "--tun=userspace-networking", "--port=0", "--no-logs-no-support"),
                *(f"--statedir={self.folder}", f"--socket={self.socket}"),
                f"--socks5-server=127.0.0.1:{self.port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **_VERBOSE},
        )
        self.pid = self._process.pid
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.last = line.strip()
            if found := _DROPPED.search(line):
                self.dropped[found[1], found[2], int(found[3])] = found[4]

    def ask(
        self, method: str, path: str, within: float = 10, body: object = None, **query: str
    ) -> Any:
        """An answer of its local interface; AgentError when it is not a good one."""
        api = LocalApi(self.socket, within)
        where = f"/localapi/v0/{path}?{urllib.parse.urlencode(query)}"
        try:
            api.request(method, where, None if body is None else json.dumps(body))
            answer = api.getresponse()
            said = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise AgentError(f"{self.name}: {path}: {error}; its log: {self.last}") from None
        finally:
            api.close()
        if answer.status != 200:
            raise AgentError(f"{self.name}: {path}: {answer.status} {said.strip()}")
        return json.loads(said) if said[:1] in "{[" else said

    def status(self, *, peers: bool = True) -> dict[str, Any]:
        """`tailscale status`; takes down its address."""
        found: dict[str, Any] = self.ask("GET", "status", peers=str(peers).lower())
        own = four(found["Self"].get("TailscaleIPs"))
        if found.get("BackendState") == "Running" and own:
            self.address = own
        return found

    def await_socket(self, within: float = 20) -> None:
        """Returns when it can be asked."""
        deadline = time.monotonic() + within
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AgentError(f"{self.name} did not start: {self.last}")
            time.sleep(POLL)

    def end(self) -> None:
        """End it and forget all it knew."""
        self._process.terminate()
        try:
            self._process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def four(addresses: Iterable[str] | None) -> str:
    """The IPv4 address among these; empty without one."""
    return next((address for address in addresses or () if ":" not in address), "")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Steps


def up(client: Client, server: str, key: str, within: float) -> str:
    """Join; nothing, or what went wrong. The key is in a file of its own until then."""
    path = client.folder / "key"
    path.touch(mode=0o600)
    path.write_text(key)
    try:
        done = subprocess.run(
            [
                *("tailscale", f"--socket={client.socket}", "up", "--login-server", server),
                *("--auth-key", f"file:{path}", "--hostname", client.name),
                *("--timeout", f"{within:g}s"),
            ],
            capture_output=True,
            text=True,
            timeout=within + 10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"tailscale up was still running after {within + 10:g} s"
    finally:
        path.unlink()
    return (done.stderr.strip()[-300:] or f"status {done.returncode}") if done.returncode else ""


def socks(
    wire: socket.socket,
    source: Client,
    address: str,
    port: int,
    within: float,
    dropped: Callable[[], bool],
) -> str:
    """Connect through a client's proxy; nothing, or how it failed."""
    wire.settimeout(5)
    wire.connect(("127.0.0.1", source.port))
    wire.sendall(b"\5\1\0")
    if wire.recv(2) != b"\5\0":
        return "silent"
    wire.sendall(b"\5\1\0\1" + socket.inet_aton(address) + port.to_bytes(2, "big"))
    deadline = time.monotonic() + within
    wire.settimeout(POLL)
    while True:
        with contextlib.suppress(TimeoutError):
            reply = wire.recv(10)
            return "" if reply[1:2] == b"\0" else "refused"
        if dropped():
            return "dropped"
        if time.monotonic() > deadline:
            return "silent"


def socks_datagram(
    source: Client, address: str, port: int, within: float, dropped: Callable[[], bool]
) -> str:
    """The answer to a datagram that goes through a client's proxy; nothing without one."""
    with socket.socket() as wire, socket.socket(type=socket.SOCK_DGRAM) as packets:
        wire.settimeout(5)
        wire.connect(("127.0.0.1", source.port))
        wire.sendall(b"\5\1\0")
        if wire.recv(2) != b"\5\0":
            return ""
        wire.sendall(b"\5\3\0\1" + bytes(6))
        reply = wire.recv(10)
        if reply[1:2] != b"\0":
            return ""
        head = b"\0\0\0\1" + socket.inet_aton(address) + port.to_bytes(2, "big")
        packets.connect(("127.0.0.1", int.from_bytes(reply[8:10], "big")))
        packets.settimeout(POLL)
        deadline, again = time.monotonic() + within, 0.0
        while time.monotonic() < deadline and not dropped():
            if time.monotonic() > again:
                packets.send(head + b"?")
                again = time.monotonic() + SENT_AGAIN
            with contextlib.suppress(TimeoutError):
                return packets.recv(2000)[len(head) :].decode(errors="replace").strip()
    return ""


def pinged(client: Client, address: str, deadline: float) -> str:
    said = "not asked"
    while time.monotonic() < deadline:
        try:
            told = client.ask("POST", "ping", 3, ip=address, type="TSMP")
        except AgentError as trouble:
            said = str(trouble)
            time.sleep(POLL)
            continue
        if not told.get("Err"):
            return ""
        said = str(told["Err"])
        time.sleep(POLL)
    return said


def ssh(client: Client, address: str, user: str, within: float) -> dict[str, Any]:
    """The mesh proves who the server is: its host key is the tunnel's affair, so none is kept."""
    way = f"tailscale --socket={client.socket} nc %h %p"
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    options += [f"ProxyCommand={way}", f"ConnectTimeout={within:g}"]
    line = ["ssh", "-F", "none", "-T", *(f"-o{option}" for option in options)]
    try:
        done = subprocess.run(
            [*line, f"{user}@{address}", "id -un"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within + 5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"as": "", "said": f"no end within {within + 5:g} s"}
    return {"as": done.stdout.strip(), "said": done.stderr.strip()[-300:]}
