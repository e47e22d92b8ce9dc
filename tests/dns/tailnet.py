"""A Headscale and one client of it, both real and on loopback, and a resolver for a split domain.

The client works without a network device, so it leaves the machine's own resolver alone.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

import dns.message
import dns.rrset
import yaml

from lab.world.ports import free_port
from mesh import headscale
from tests import stacks
from tests.guard import waiting
from tests.relays.mesh import Process, program

RESOLVER: Final = "127.77.0.1"  # with port 53: Headscale takes resolvers without a port only
INSIDE: Final = "wiki.company.internal"  # a name that this resolver alone knows
INSIDE_ADDRESS: Final = "10.0.0.80"
_SPLIT: Final = "company.internal"


class Resolver:
    """A resolver that knows one name."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((RESOLVER, 53))
        self._thread = threading.Thread(target=self._serve, name="resolver", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._socket.sendto(b"", (RESOLVER, 53))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, asker = self._socket.recvfrom(4096)
            if not wire:
                return
            self._socket.sendto(_answer(wire), asker)


def _answer(wire: bytes) -> bytes:
    query = dns.message.from_wire(wire)
    answer = dns.message.make_response(query, recursion_available=True)
    question = query.question[0]
    if str(question.name) == f"{INSIDE}." and question.rdtype == 1:
        answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", INSIDE_ADDRESS))
    return answer.to_wire()


class Tailnet:
    """Both of them; `records` is the file of extra records, which must be there."""

    def __init__(self, folder: Path, records: Path) -> None:
        self._folder = folder
        self.server_config = folder / "config.yaml"
        port, debug, remote = (free_port() for _ in range(3))
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "server_url": self.url,
            "listen_addr": f"127.0.0.1:{port}",
            "metrics_listen_addr": f"127.0.0.1:{debug}",
            "grpc_listen_addr": f"127.0.0.1:{remote}",
            "unix_socket": str(folder / "headscale.sock"),
            "noise": {"private_key_path": str(folder / "noise.key")},
            "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
            "derp": {"urls": [], "paths": [str(_derp_map(folder))]},
            "database": {"type": "sqlite", "sqlite": {"path": str(folder / "db.sqlite")}},
            "dns": _dns(records),
            "disable_check_updates": True,
            "log": {"level": "info"},
        }
        self.server_config.write_text(yaml.safe_dump(config))
        self.server_log = folder / "headscale.log"
        command = [program("headscale"), "--config", str(self.server_config), "serve"]
        self.server = Process(self.server_log, command)
        self._socket = str(folder / "client.sock")
        self._client = Process(
            folder / "client.log",
            [
                *(program("tailscaled"), "--tun=userspace-networking", "--no-logs-no-support"),
                *(f"--statedir={folder}/client", f"--socket={self._socket}", "--port=0"),
            ],
        )

    def start(self) -> None:
        """Until Headscale answers."""
        self.server.start()
        waiting.eventually("Headscale answers", self._answers)

    def end(self) -> None:
        self._client.end()
        self.server.end()

    def headscale(self, *words: str) -> Any:
        """What its command says, as data."""
        result = subprocess.run(
            [program("headscale"), "--config", str(self.server_config), "-o", "json", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(result.stdout)

    def join(self, name: str) -> None:
        """Start the client and make it a node of that name."""
        user = self.headscale("users", "create", "tester")
        key = self.headscale("preauthkeys", "create", "--user", str(user["id"]), "-e", "1h")["key"]
        file = self._folder / "key"
        file.write_text(key)
        self._client.start()
        waiting.eventually("the client listens", Path(self._socket).exists)
        self.tailscale(
            *("up", "--login-server", self.url, "--auth-key", f"file:{file}"),
            *("--hostname", name, "--timeout", "25s"),
        )

    def tailscale(self, *words: str) -> str:
        """What the client's command says."""
        command = [program("tailscale"), f"--socket={self._socket}", *words]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{words[0]}: {result.stdout}{result.stderr}"
        return result.stdout

    def asked(self, name: str, kind: str = "A") -> set[str]:
        """The addresses that the client answers for a name."""
        told = json.loads(self.tailscale("dns", "query", "--json", name, kind))
        return {answer["Body"] for answer in told.get("Answers") or ()}

    def _answers(self) -> bool:
        command = [program("headscale"), "--config", str(self.server_config), "health"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _dns(records: Path) -> dict[str, Any]:
    """That of the stack, with a resolver that is here."""
    login = headscale.Login(host="unused", user="unused", password="unused")
    text = headscale.configuration(stacks.load("lab"), stacks.build("lab"), login)
    found: dict[str, Any] = yaml.safe_load(text)["dns"]
    servers = {"global": [RESOLVER], "split": {_SPLIT: [RESOLVER]}}
    return {**found, "nameservers": servers, "extra_records_path": str(records)}


def _derp_map(folder: Path) -> Path:
    """One region, whose relay nobody needs to reach."""
    node = {"name": "900a", "regionid": 900, "hostname": "localhost", "ipv4": "127.0.0.1"}
    node |= {"ipv6": "none", "derpport": 1, "stunport": -1}
    region = {"regionid": 900, "regioncode": "aa", "regionname": "AA", "nodes": [node]}
    path = folder / "derp.yaml"
    path.write_text(yaml.safe_dump({"regions": {900: region}}))
    return path
