"""Runs many Tailscale clients on one machine and tries connections between them.

python3 -m drills.crowd_agent FOLDER PORT…   # standard library only; runs on the machine itself

Each client is a tailscaled of its own without a network device. What reaches one from the mesh
goes to the same port of 127.0.0.1, where this program answers for all of them, with a banner that
says how the connection arrived. One JSON request a line on standard input, {"do": …}, is answered
by one line on standard output, {"answer": …} or {"trouble": "text"}. The end of standard input
ends every client.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from drills import crowd_client

UNSEEN_WITHIN = 1  # s for a connection to a node that the source does not know: nothing is sent
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


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
        raise crowd_client.AgentError(f"port {port} of this machine: {error}") from None
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()


# What is asked


class Crowd:
    """All clients of this machine, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clients: dict[str, crowd_client.Client] = {}

    def answer(self, request: dict[str, Any]) -> Any:
        """Of one request; AgentError."""
        do = str(request.pop("do"))
        verbs = (
            *("start", "join", "status", "connect", "send"),
            *("ping", "follow", "ssh", "prefs", "end"),
        )
        if do not in verbs:
            raise crowd_client.AgentError(f"no such request: {do}; there are {', '.join(verbs)}")
        return getattr(self, do)(**request)

    def _client(self, name: str) -> crowd_client.Client:
        if name not in self._clients:
            raise crowd_client.AgentError(f"no client {name} was started")
        return self._clients[name]

    def start(self, names: list[str]) -> dict[str, int]:
        """Their process ids."""
        for name in names:
            if name not in self._clients:
                self._clients[name] = crowd_client.Client(self._folder, name)
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
            said = crowd_client.up(client, server, keys[name], within)
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
            known = {crowd_client.four(peer["TailscaleIPs"]): peer["HostName"] for peer in peers}
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
        way: Callable[[crowd_client.Client, str, int, float], dict[str, Any]],
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

    def _at(self, address: str) -> crowd_client.Client | None:
        """The client that has an address of the mesh."""
        return next((c for c in self._clients.values() if c.address == address), None)

    def _try(
        self, source: crowd_client.Client, address: str, port: int, within: float
    ) -> dict[str, Any]:
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
                if outcome := crowd_client.socks(
                    wire, source, address, port, within, lambda: said in dropped
                ):
                    return {"outcome": outcome, "said": dropped.get(said, "")}
                wire.settimeout(within)
                banner = wire.recv(200).decode(errors="replace").strip()
            except OSError as error:
                return {"outcome": "silent", "said": str(error)}
            return {"outcome": "connected", "banner": banner, **self._arrival(target, banner)}

    def _try_datagram(
        self, source: crowd_client.Client, address: str, port: int, within: float
    ) -> dict[str, Any]:
        """As `_try`; connected is what was answered."""
        target, said = self._at(address), ("UDP", source.address, port)
        dropped = target.dropped if target else {}
        dropped.pop(said, None)
        try:
            banner = crowd_client.socks_datagram(
                source, address, port, within, lambda: said in dropped
            )
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
    def _arrival(
        via: crowd_client.Client | None, banner: str, protocol: str = "tcp"
    ) -> dict[str, str]:
        """Asked while the connection is open: only the client that brought it knows it."""
        found = re.fullmatch(r"crowd \d+ (\d+)", banner)
        if not found or not via:
            return {}
        try:
            told = via.ask("GET", "whois", addr=f"127.0.0.1:{found[1]}", proto=protocol)
        except crowd_client.AgentError as trouble:
            return {"via": "", "origin": "", "said": str(trouble)}
        return {"via": via.name, "origin": str(told["Node"]["Name"]).split(".")[0]}

    def ping(self, pairs: list[tuple[str, str]], at_once: int, within: float) -> list[str]:
        """For each source and address: nothing, or why no answer came through the tunnel. It
        takes no rule: the clients themselves answer.
        """

        def one(pair: tuple[str, str]) -> str:
            return crowd_client.pinged(self._client(pair[0]), pair[1], time.monotonic() + within)

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
                with contextlib.suppress(crowd_client.AgentError):
                    client.status(peers=False)
            if client.address == moves[name]:
                at["address"] = time.monotonic()
                there = moves.get(target) or self._client(target).address
                if not crowd_client.pinged(client, there, deadline):
                    at["ping"] = time.monotonic()
            return at

        return dict(zip(moves, in_parallel(len(moves) or 1, moves, one), strict=True))

    def ssh(
        self, rows: list[tuple[str, str, str]], at_once: int, within: float
    ) -> list[dict[str, Any]]:
        """For each source, address and user: what `id -un` said there, and what else was."""
        return in_parallel(
            at_once, rows, lambda row: crowd_client.ssh(self._client(row[0]), *row[1:], within)
        )

    def prefs(self, names: list[str], change: dict[str, Any]) -> None:
        """Change settings of running clients, such as {"RunSSH": true}."""
        masked = {**change, **{f"{key}Set": True for key in change}}
        for name in names:
            self._client(name).ask("PATCH", "prefs", body=masked)

    def end(self, names: list[str] | None = None) -> None:
        """End these clients, or all; what is not there is no error."""
        gone = [self._clients.pop(n) for n in names or list(self._clients) if n in self._clients]
        in_parallel(8, gone, crowd_client.Client.end)


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
            except crowd_client.AgentError as trouble:
                said = {"trouble": str(trouble)}
            print(json.dumps(said), flush=True)
    except crowd_client.AgentError as trouble:
        print(json.dumps({"trouble": str(trouble)}), flush=True)
    finally:
        crowd.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
