"""Runs many Tailscale clients on one machine and tries connections between them.

python3 crowd_agent.py FOLDER PORT…      # standard library only; runs on the machine itself

Each client is a tailscaled of its own without a network device. What reaches one from the mesh
goes to the same port of 127.0.0.1, where this program answers for all of them, with a banner that
says how the connection arrived. One JSON request a line on standard input, {"do": …}, is answered
by one line on standard output, {"answer": …} or {"trouble": "text"}. The end of standard input
ends every client.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

POLL = 0.05  # s
SENT_AGAIN = 0.5  # s without an answer to a datagram, which may get lost
END_WITHIN = 10  # s for a client to end in order
UNSEEN_WITHIN = 1  # s for a connection to a node that the source does not know: nothing is sent
# What a client says when its packet filter drops what asks for a connection, or a datagram.
_DROPPED = re.compile(r"Drop: (TCP|UDP)\{(\S+):\d+ > \S+:(\d+)\} \d+ (.+)")
_VERBOSE = {  # each drop is said, not just the first ten
    "TS_DEBUG_FILTER_RATE_LIMIT_LOGS": "all",
    "TS_DEBUG_LOG_RATE": "all",
}
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class AgentError(Exception):
    """What to tell who asked."""


# Clients


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


def in_parallel(
    at_once: int, items: Iterable[_Item], work: Callable[[_Item], _Result]
) -> list[_Result]:
    """The results, in their order."""
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(work, items))


# The services of the machine


class _Banner(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        own, peer = self.request.getsockname()[1], self.client_address[1]
        with contextlib.suppress(OSError):
            self.request.sendall(f"crowd {own} {peer}\n".encode())
            self.request.settimeout(30)
            self.request.recv(1)  # until the caller, who asks about this connection, closes it


class _Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        _, own = self.request
        banner = f"crowd {own.getsockname()[1]} {self.client_address[1]}\n"
        own.sendto(banner.encode(), self.client_address)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def serve(port: int) -> None:
    """Answer on a port of 127.0.0.1, TCP and UDP."""
    try:
        servers = (
            _Server(("127.0.0.1", port), _Banner),
            socketserver.UDPServer(("127.0.0.1", port), _Datagram),
        )
    except OSError as error:
        raise AgentError(f"port {port} of this machine: {error}") from None
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()


# What is asked


class Crowd:
    """All clients of this machine, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clients: dict[str, Client] = {}

    def answer(self, request: dict[str, Any]) -> Any:
        """Of one request; AgentError."""
        do = str(request.pop("do"))
        verbs = (
            *("start", "join", "status", "connect", "send"),
            *("ping", "follow", "ssh", "prefs", "end"),
        )
        if do not in verbs:
            raise AgentError(f"no such request: {do}; there are {', '.join(verbs)}")
        return getattr(self, do)(**request)

    def _client(self, name: str) -> Client:
        if name not in self._clients:
            raise AgentError(f"no client {name} was started")
        return self._clients[name]

    def start(self, names: list[str]) -> dict[str, int]:
        """Their process ids."""
        for name in names:
            if name not in self._clients:
                self._clients[name] = Client(self._folder, name)
        for name in names:
            self._client(name).await_socket()
        return {name: self._client(name).pid for name in names}

    def join(
        self, server: str, keys: dict[str, str], at_once: int, within: float
    ) -> dict[str, dict[str, Any]]:
        """By name: whether it joined, when it began and ended (monotonic), its address, or what
        was said.
        """

        def one(name: str) -> dict[str, Any]:
            client, began = self._client(name), time.monotonic()
            said = _up(client, server, keys[name], within)
            if not said:
                client.status(peers=False)
            return {
                "joined": not said,
                "began": began,
                "ended": time.monotonic(),
                "address": client.address,
                "said": said,
            }

        return dict(zip(keys, in_parallel(at_once, keys, one), strict=True))

    def status(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """By name: its state, its address and the names of its peers by their addresses."""

        def one(name: str) -> dict[str, Any]:
            found, client = self._client(name).status(), self._client(name)
            peers = (found.get("Peer") or {}).values()
            known = {four(peer["TailscaleIPs"]): peer["HostName"] for peer in peers}
            return {"state": found["BackendState"], "address": client.address, "peers": known}

        return dict(zip(names, in_parallel(8, names, one), strict=True))

    def connect(
        self, rows: list[tuple[str, str, int]], at_once: int, within: float
    ) -> list[dict[str, Any]]:
        """For each source, address and port: how a connection ended, as `_try`."""
        return self._tried(self._try, rows, at_once, within)

    def send(
        self, rows: list[tuple[str, str, int]], at_once: int, within: float
    ) -> list[dict[str, Any]]:
        """The same with a datagram, which is answered or not; as `_try_datagram`."""
        return self._tried(self._try_datagram, rows, at_once, within)

    def _tried(
        self,
        way: Callable[[Client, str, int, float], dict[str, Any]],
        rows: list[tuple[str, str, int]],
        at_once: int,
        within: float,
    ) -> list[dict[str, Any]]:
        names = sorted({row[0] for row in rows})
        known = {name: set(found["peers"]) for name, found in self.status(names).items()}

        def one(row: tuple[str, str, int]) -> dict[str, Any]:
            source, address, port = row
            seen, began = address in known[source], time.monotonic()
            limit = within if seen else min(within, UNSEEN_WITHIN)
            found = way(self._client(source), address, port, limit)
            return {**found, "seconds": time.monotonic() - began, "seen": seen}

        return in_parallel(at_once, rows, one)

    def _at(self, address: str) -> Client | None:
        """The client that has an address of the mesh."""
        return next((c for c in self._clients.values() if c.address == address), None)

    def _try(self, source: Client, address: str, port: int, within: float) -> dict[str, Any]:
        """`outcome` is connected, dropped (by the packet filter of the destination, which said
        so), refused (by whomever) or silent. `via` is the client that brought the connection here
        and `origin` the node that it took for the caller.
        """
        target, said = self._at(address), ("TCP", source.address, port)
        if target:
            target.dropped.pop(said, None)
        with socket.socket() as wire:
            try:
                dropped = target.dropped if target else {}
                if outcome := _socks(wire, source, address, port, within, lambda: said in dropped):
                    return {"outcome": outcome, "said": dropped.get(said, "")}
                wire.settimeout(within)
                banner = wire.recv(200).decode(errors="replace").strip()
            except OSError as error:
                return {"outcome": "silent", "said": str(error)}
            return {"outcome": "connected", "banner": banner, **self._arrival(target, banner)}

    def _try_datagram(
        self, source: Client, address: str, port: int, within: float
    ) -> dict[str, Any]:
        """As `_try`; connected is what was answered."""
        target, said = self._at(address), ("UDP", source.address, port)
        dropped = target.dropped if target else {}
        dropped.pop(said, None)
        try:
            banner = _socks_datagram(source, address, port, within, lambda: said in dropped)
        except OSError as error:
            return {"outcome": "silent", "said": str(error)}
        if not banner:
            return {
                "outcome": "dropped" if said in dropped else "silent",
                "said": dropped.get(said, ""),
            }
        found = self._arrival(target, banner, "udp")
        return {"outcome": "connected", "banner": banner, **found}

    @staticmethod
    def _arrival(via: Client | None, banner: str, protocol: str = "tcp") -> dict[str, str]:
        """Asked while the connection is open: only the client that brought it knows it."""
        found = re.fullmatch(r"crowd \d+ (\d+)", banner)
        if not found or not via:
            return {}
        try:
            told = via.ask("GET", "whois", addr=f"127.0.0.1:{found[1]}", proto=protocol)
        except AgentError as trouble:
            return {"via": "", "origin": "", "said": str(trouble)}
        return {"via": via.name, "origin": str(told["Node"]["Name"]).split(".")[0]}

    def ping(self, pairs: list[tuple[str, str]], at_once: int, within: float) -> list[str]:
        """For each source and address: nothing, or why no answer came through the tunnel. It
        takes no rule: the clients themselves answer.
        """

        def one(pair: tuple[str, str]) -> str:
            return _pinged(self._client(pair[0]), pair[1], time.monotonic() + within)

        return in_parallel(at_once, pairs, one)

    def follow(self, moves: dict[str, str], to: dict[str, str], within: float) -> dict[str, Any]:
        """By name, when (monotonic) the client had its new address of `moves`, and when it then
        had an answer of the client `to`, at that one's new address; nothing for what was not.
        """
        deadline = time.monotonic() + within

        def one(name: str) -> dict[str, float | None]:
            client, target = self._client(name), to[name]
            at: dict[str, float | None] = {"address": None, "ping": None}
            while client.address != moves[name] and time.monotonic() < deadline:
                time.sleep(0.25)
                with contextlib.suppress(AgentError):
                    client.status(peers=False)
            if client.address == moves[name]:
                at["address"] = time.monotonic()
                there = moves.get(target) or self._client(target).address
                if not _pinged(client, there, deadline):
                    at["ping"] = time.monotonic()
            return at

        return dict(zip(moves, in_parallel(len(moves) or 1, moves, one), strict=True))

    def ssh(
        self, rows: list[tuple[str, str, str]], at_once: int, within: float
    ) -> list[dict[str, Any]]:
        """For each source, address and user: what `id -un` said there, and what else was."""
        return in_parallel(at_once, rows, lambda row: _ssh(self._client(row[0]), *row[1:], within))

    def prefs(self, names: list[str], change: dict[str, Any]) -> None:
        """Change settings of running clients, such as {"RunSSH": true}."""
        masked = {**change, **{f"{key}Set": True for key in change}}
        for name in names:
            self._client(name).ask("PATCH", "prefs", body=masked)

    def end(self, names: list[str] | None = None) -> None:
        """End these clients, or all; what is not there is no error."""
        gone = [self._clients.pop(n) for n in names or list(self._clients) if n in self._clients]
        in_parallel(8, gone, Client.end)


# Steps


def _up(client: Client, server: str, key: str, within: float) -> str:
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


def _socks(
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


def _socks_datagram(
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


def _pinged(client: Client, address: str, deadline: float) -> str:
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


def _ssh(client: Client, address: str, user: str, within: float) -> dict[str, Any]:
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


def main() -> None:
    """Answers until its input ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the clients end too
    folder = Path(sys.argv[1])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    crowd = Crowd(folder)
    try:
        for port in sys.argv[2:]:
            serve(int(port))
        print(json.dumps({"answer": "ready"}), flush=True)
        for line in sys.stdin:
            try:
                said: dict[str, Any] = {"answer": crowd.answer(json.loads(line))}
            except AgentError as trouble:
                said = {"trouble": str(trouble)}
            print(json.dumps(said), flush=True)
    except AgentError as trouble:
        print(json.dumps({"trouble": str(trouble)}), flush=True)
    finally:
        crowd.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
