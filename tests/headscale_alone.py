"""The real Headscale on loopback with prod's configuration and a database in a file: what it makes
of what it is given. Needs dist/ (make artifacts)."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import urllib3
import yaml

from lab.world.command import until
from lab.world.ports import free_port
from mesh import headscale
from mesh.access import Node
from tests import stacks

SECONDS: Final = 120  # until it answers; it takes one, and some more with a thousand nodes
_POLICY: Final = (
    "INSERT INTO policies (id, created_at, updated_at, data)"
    " VALUES (1, '2026-01-01', '2026-01-01', ?)"
)
_NODE: Final = (
    "INSERT INTO nodes (id, machine_key, node_key, disco_key, endpoints, host_info, ipv4, ipv6,"
    " hostname, given_name, user_id, register_method, tags, approved_routes)"
    " VALUES (?, ?, ?, ?, '[]', '{}', ?, ?, ?, ?, ?, 'authkey', ?, '[]')"
)


class Alone:
    """One Headscale in a folder."""

    def __init__(self, folder: Path, changes: Mapping[str, Any] | None = None) -> None:
        self.tree = _configuration(folder, changes or {})
        self._folder = folder
        config = folder / "config.json"
        config.write_text(json.dumps(self.tree))
        self._command = [str(_program()), "--config", str(config)]
        subprocess.run([*self._command, "configtest"], capture_output=True, text=True, check=True)

    def fill(self, policy: str, nodes: Sequence[Node]) -> None:
        """Give it a policy and nodes, which are called 1, 2, …; it must not run."""
        users = sorted({node.user for node in nodes if node.user})
        with closing(sqlite3.connect(self._folder / "db.sqlite")) as database, database:
            database.execute(_POLICY, (policy,))
            for number, user in enumerate(users, 1):
                database.execute("INSERT INTO users (id, name) VALUES (?, ?)", (number, user))
            for number, node in enumerate(nodes, 1):
                owner = users.index(node.user) + 1 if node.user else None
                database.execute(_NODE, _row(number, node, owner))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """It runs, and answers."""
        log = self._folder / "headscale.log"
        with log.open("wb") as file:
            server = subprocess.Popen([*self._command, "serve"], stdout=file, stderr=file)

        def answers() -> bool:
            assert server.poll() is None, f"Headscale has ended: {log.read_text()[-2000:]}"
            with suppress(urllib3.exceptions.HTTPError):
                return bool(self.ask("/debug/config"))
            return False

        try:
            until(answers, within=SECONDS, what="Headscale answers")
            yield
        finally:
            server.kill()
            server.wait()

    def ask(self, path: str) -> str:
        """What it says of itself."""
        pool = urllib3.PoolManager(retries=False, timeout=10)
        return pool.request("GET", f"http://{self.tree['metrics_listen_addr']}{path}").data.decode()


def _program() -> Path:
    dist = stacks.REPOSITORY / "dist"
    manifest = json.loads((dist / "manifest.json").read_text())
    return dist / str(manifest["headscale"]["path"])


def _configuration(folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What prod's hosts are given, with everything else inside a folder and on loopback."""
    login = headscale.Login(host="unused", user="unused", password="unused")
    settings, topology = stacks.load("prod", changes), stacks.build("prod", changes)
    tree: dict[str, Any] = yaml.safe_load(headscale.configuration(settings, topology, login))
    (folder / "derp.yaml").write_text(
        "regions: {900: {regionid: 900, regioncode: a, regionname: A, nodes:"
        " [{name: 900a, regionid: 900, hostname: a.example.com, ipv4: 198.51.100.1}]}}\n"
    )
    (folder / "records.json").write_text("[]\n")
    ports = ("listen_addr", "metrics_listen_addr", "grpc_listen_addr")
    return {
        **tree,
        **{key: f"127.0.0.1:{free_port()}" for key in ports},
        "tls_cert_path": "",
        "tls_key_path": "",
        "unix_socket": f"{folder}/headscale.sock",
        "noise": {"private_key_path": f"{folder}/noise.key"},
        "derp": {**tree["derp"], "paths": [f"{folder}/derp.yaml"]},
        "database": {"type": "sqlite", "sqlite": {"path": f"{folder}/db.sqlite"}},
        "dns": {**tree["dns"], "extra_records_path": f"{folder}/records.json"},
    }


def _row(number: int, node: Node, owner: int | None) -> tuple[Any, ...]:
    key = f"{number:064x}"
    address = str(node.address or f"100.127.{number // 250}.{number % 250 + 1}")
    return (
        number,
        *(f"{kind}:{key}" for kind in ("mkey", "nodekey", "discokey")),
        address,
        f"fd7a:115c:a1e0:ffff::{number:x}",
        str(number),
        f"node-{number}",
        owner,
        json.dumps(sorted(node.tags)),
    )
