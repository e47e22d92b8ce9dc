"""Headscale with a database of its own and a crowd of real clients, in a network of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from drills.crowd import Crowd
from lab.world import netns
from lab.world.command import inside, run, until
from tests.guard import certificates

ROOT: Final = Path(__file__).resolve().parents[2]
ADDRESS: Final = "198.18.77.1"  # clients use no loopback address as an endpoint
RELAY: Final = certificates.SERVER_NAME
URL: Final = "https://127.0.0.1:10443"  # after a restart, clients find back to TLS only


@dataclass(frozen=True)
class Loopback:
    """A machine for a crowd, which is this one, and the server that it joins."""

    namespace: str
    folder: Path

    def exec_line(self, line: Sequence[str]) -> list[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        trust = f"SSL_CERT_FILE={self.folder / 'ca.pem'}"
        return inside(self.namespace, ["env", f"PATH={path}", trust, *line])

    def headscale(self, *words: str) -> Any:
        """What the command line tool answers."""
        return json.loads(self._run("-o", "json", *words) or "null")

    def _run(self, *words: str) -> str:
        config = str(self.folder / "config.yaml")
        return run(self.exec_line(["headscale", "--config", config, *words])).stdout

    def set_policy(self, policy: str) -> None:
        path = self.folder / "policy.json"
        path.write_text(policy)
        self._run("policy", "set", "--file", str(path))

    def key(self, *, user: str = "", tags: str = "") -> str:
        """A pre-auth key for one device of a user, or for servers of some tags."""
        if user:
            names = {entry["name"]: entry["id"] for entry in self.headscale("users", "list") or []}
            if user not in names:
                names[user] = self.headscale("users", "create", user)["id"]
        owner = ["--user", str(names[user])] if user else ["--tags", tags]
        return str(self.headscale("preauthkeys", "create", "--reusable", *owner)["key"])

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Headscale runs, and answers."""
        words = ["--config", str(self.folder / "config.yaml"), "serve"]
        with _program(self, "headscale", words) as server:
            _await(self, server, self.folder / "headscale.log")
            yield

    def readdress(self, addresses: Mapping[str, str]) -> None:
        """Give nodes other addresses; the server must not run."""
        with closing(sqlite3.connect(self.folder / "db.sqlite")) as database, database:
            for name, address in addresses.items():
                row = (address, name)
                database.execute("UPDATE nodes SET ipv4 = ? WHERE given_name = ?", row)

    def crowd(self) -> Crowd:
        """Of this machine."""
        return Crowd(self, str(ROOT), str(self.folder / "crowd"))


@contextmanager
def running(folder: Path) -> Iterator[Loopback]:
    """The server, up; nothing is left of it afterwards."""
    with prepared(folder) as here, here.serving():
        yield here


@contextmanager
def prepared(folder: Path) -> Iterator[Loopback]:
    """A network and a relay, but no server yet."""
    here = Loopback(f"crowd-{os.getpid()}", folder)
    _programs(folder / "bin")
    (folder / "map.yaml").write_text(yaml.safe_dump(_map(_certificate(folder))))
    (folder / "config.yaml").write_text(yaml.safe_dump(_config(folder)))
    netns.create(here.namespace)
    try:
        _network(here.namespace)
        with _program(here, "derper", _relay(folder)):
            yield here
    finally:
        netns.delete(here.namespace)


@contextmanager
def _program(here: Loopback, name: str, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    with (here.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(here.exec_line([name, *words]), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _await(here: Loopback, server: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        assert server.poll() is None, log.read_text()[-2000:]
        trust = ["--cacert", str(here.folder / "ca.pem")]
        ask = ["curl", *trust, "--silent", "--fail", "--max-time", "1", f"{URL}/health"]
        return run(here.exec_line(ask), check=False).status == 0

    until(answers, within=30, what="Headscale", seen=lambda: log.read_text()[-500:], poll=0.2)


def _programs(folder: Path) -> None:
    manifest = json.loads((ROOT / "dist/manifest.json").read_text())
    folder.mkdir()
    for name in ("derper", "headscale", "tailscale", "tailscaled"):
        (folder / name).symlink_to(ROOT / "dist" / manifest[name]["path"])


def _certificate(folder: Path) -> Path:
    """The relay's, where derper looks for it."""
    shown = certificates.Authority(folder).issue("relay")
    shutil.copy(shown.key, folder / f"{RELAY}.key")
    return Path(shutil.copy(shown.certificate, folder / f"{RELAY}.crt"))


def _relay(folder: Path) -> list[str]:
    """Clients tell each other through it where they are."""
    own = [f"-c={folder}/derper.key", f"-certdir={folder}", "-certmode=manual"]
    return [f"-a={ADDRESS}:443", "-http-port=-1", f"-hostname={RELAY}", *own]


def _map(certificate: Path) -> dict[str, Any]:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    node = {
        "name": "900a",
        "regionid": 900,
        "hostname": RELAY,
        "ipv4": ADDRESS,
        "ipv6": "none",
        "certname": f"sha256-raw:{hashlib.sha256(der).hexdigest()}",
    }
    region = {"regionid": 900, "regioncode": "here", "regionname": "Here", "nodes": [node]}
    return {"regions": {900: region}}


def _network(namespace: str) -> None:
    """One address that is not loopback, and a way out that leads nowhere."""
    lines = ["link add out type veth peer name nowhere", "link set nowhere up"]
    lines += [f"addr add {ADDRESS}/24 dev out", "link set out up"]
    for line in (*lines, "route add default via 198.18.77.254"):
        run(["ip", "-n", namespace, *line.split()])


def _config(folder: Path) -> dict[str, Any]:
    return {
        "server_url": URL,
        "listen_addr": URL.removeprefix("https://"),
        "tls_cert_path": str(folder / f"{RELAY}.crt"),
        "tls_key_path": str(folder / f"{RELAY}.key"),
        "metrics_listen_addr": "",
        "noise": {"private_key_path": str(folder / "noise.key")},
        "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
        "derp": {"server": {"enabled": False}, "urls": [], "paths": [str(folder / "map.yaml")]},
        "disable_check_updates": True,
        "database": {"type": "sqlite", "sqlite": {"path": str(folder / "db.sqlite")}},
        "policy": {"mode": "database"},
        "dns": {"magic_dns": False, "override_local_dns": False, "base_domain": "ts.mesh.test"},
        "unix_socket": str(folder / "headscale.sock"),
        "log": {"level": "warn"},
    }
