"""A real Headscale on a real PostgreSQL with the fence, and mesh-registry beside it."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import subprocess
from pathlib import Path
from typing import Any, Final
from unittest import mock

import yaml
from cryptography.fernet import Fernet

from lab.world.ports import free_port
from registry import command
from registry.place import Place
from tests.guard import database, waiting
from tests.guard.database import Database

ROOT: Final = Path(__file__).resolve().parents[2]
POLICY: Final = """\
// Of the tests.
{"groups": {"group:ops": ["ann@"]}, "tagOwners": {"tag:web": ["group:ops"]},
 "acls": [{"action": "accept", "src": ["group:ops"], "dst": ["tag:web:80"]}]}
"""


class Plant:
    """One control host's Headscale; its guard is a file that the tests write."""

    def __init__(self, folder: Path, store: Database) -> None:
        manifest = json.loads((ROOT / "dist/manifest.json").read_text())
        self.headscale = str(ROOT / "dist" / manifest["headscale"]["path"])
        self.folder, self.store = folder, store
        self.place = Place(
            headscale=self.headscale,
            config=folder / "config.yaml",
            guard=folder / "guard.json",
            seal=folder / "registry.seal",
            addresses=folder / "addresses.json",
        )
        self.seal = Fernet.generate_key().decode()
        self._write()
        self.be("active")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.headscale, "--config", str(self.place.config), "serve"],
                stdout=log,
                stderr=log,
            )
        waiting.eventually("Headscale answers", self._answers)

    def end(self) -> None:
        """Stop it."""
        if self._process:
            self._process.terminate()
            self._process.wait()

    def be(self, role: str) -> None:
        """What the guard says."""
        status = {"role": role, "server_answers": role == "active", "holder": "hs-2"}
        (self.folder / "status.json").write_text(json.dumps(status))

    def declaration(self, **changes: Any) -> str:
        """Standard input of `apply`."""
        declared = {
            "seal": self.seal,
            "week": "2026-W01",
            "groups": {"group:ops": ["ann"]},
            "users": [{"name": "ann", "display": "operations"}, {"name": "bob", "display": ""}],
            "policy": POLICY,
            "keys": [key("web", tags=["tag:web"], reusable=True), key("ann-device", user="ann")],
            "api_keys": [{"name": "console", "expiration_hours": 48, "rotate_before_hours": 8}],
        }
        return json.dumps({**declared, **changes})

    def apply(self, **changes: Any) -> dict[str, Any]:
        """What `apply` says; AssertionError with its error."""
        return self.ask("apply", stdin=self.declaration(**changes))

    def ask(self, *words: str, stdin: str = "") -> dict[str, Any]:
        """The answer of mesh-registry; AssertionError with its error."""
        status, said, error = self.run(*words, stdin=stdin)
        assert status == 0, error
        found: dict[str, Any] = json.loads(said)
        return found

    def run(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit status, standard output and error of mesh-registry."""
        said, error = io.StringIO(), io.StringIO()
        with (
            mock.patch("sys.stdin", io.StringIO(stdin)),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(error),
        ):
            status = command.main(words, self.place)
        return status, said.getvalue(), error.getvalue()

    def told(self, *words: str) -> Any:
        """What `headscale` itself says, as data."""
        return json.loads(self.tell("-o", "json", *words) or "null")

    def tell(self, *words: str) -> str:
        """What `headscale` itself says."""
        line = [self.headscale, "--config", str(self.place.config), *words]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    def add_node(self, user: str, name: str) -> None:
        """A node of the user, as one that a person has logged in."""
        number = "hskey-authreq-" + secrets.token_hex(12)
        self.told("debug", "create-node", "--user", user, "--name", name, "--key", number)
        self.told("auth", "register", "--user", user, "--auth-id", number)

    def _answers(self) -> bool:
        line = [self.headscale, "--config", str(self.place.config), "health"]
        return subprocess.run(line, capture_output=True, check=False).returncode == 0

    def _write(self) -> None:
        password = self.folder / "password"
        password.write_text(database.PASSWORD)
        where = f"host=127.0.0.1 port={self.store.port} dbname=headscale user=guard_hs_1"
        guard = {
            "status_file": str(self.folder / "status.json"),
            "database": where,
            "password_file": str(password),
        }
        self.place.guard.write_text(json.dumps(guard))
        relays = {"regions": {900: {"regionid": 900, "regioncode": "bj", "nodes": []}}}
        (self.folder / "derp.yaml").write_text(yaml.safe_dump(relays))
        self.place.config.write_text(yaml.safe_dump(self._config()))

    def _config(self) -> dict[str, Any]:
        login = {"host": "127.0.0.1", "port": self.store.port, "name": "headscale"}
        # Headscale puts it into a connection string as it is.
        login |= {"user": "headscale_hs_1", "pass": f"'{database.PASSWORD}'", "ssl": False}
        port = free_port()
        paths = [str(self.folder / "derp.yaml")]
        return {
            "server_url": f"http://127.0.0.1:{port}",
            "listen_addr": f"127.0.0.1:{port}",
            "metrics_listen_addr": "",
            "grpc_listen_addr": f"127.0.0.1:{free_port()}",
            "unix_socket": str(self.folder / "socket"),
            "noise": {"private_key_path": str(self.folder / "noise.key")},
            "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
            "derp": {"server": {"enabled": False}, "urls": [], "paths": paths},
            "database": {"type": "postgres", "postgres": login},
            "policy": {"mode": "database"},
            "dns": {"magic_dns": False, "override_local_dns": False, "base_domain": "mesh.test"},
        }


def key(name: str, **terms: Any) -> dict[str, Any]:
    """A declared pre-auth key as mesh.registry writes it."""
    plain: dict[str, Any] = {"user": None, "tags": [], "reusable": False, "ephemeral": False}
    lasting = {"expiration_hours": 48, "rotate_before_hours": 8}
    return {"name": name, **plain, **lasting, **terms}
