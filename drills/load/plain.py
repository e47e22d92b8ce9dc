"""One Headscale on SQLite, as its own guide sets it up: no proxy, no guard, no pair."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from lab.world.authority import authority
from lab.world.command import run, until
from lab.world.ports import free_port
from meshctl.load import server

DIST: Final = Path(__file__).parents[2] / "dist"
_UP_WITHIN: Final = 60.0  # s


def program(name: str) -> Path:
    """A built program, from dist/."""
    manifest = json.loads((DIST / "manifest.json").read_text())
    return DIST / str(manifest[name]["path"])


@dataclass
class Plain:
    """The server, up on 127.0.0.1 while it is entered."""

    folder: Path
    binary: Path
    port: int = field(default_factory=free_port)
    prefix: Sequence[str] = ()  # of the server's command line
    tuning: Mapping[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Plain:
        pem = authority().issue(["127.0.0.1"])
        descriptor = os.open(self.folder / "own.pem", os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        (self.folder / "map.yaml").write_text(yaml.safe_dump(_MAP))
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self._config()))
        try:
            self._start()
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGTERM)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def trust(self) -> str:
        """The file of authorities by which its certificate is good."""
        return str(authority().certificate)

    def headscale(self, *words: str, stdin: str = "") -> str:
        return run([*self.line(), *words], stdin=stdin).stdout

    def pids(self) -> list[int]:
        """The server's process."""
        return [self._process.pid] if self._process else []

    def delete_nodes(self, ids: Sequence[str]) -> None:
        with ThreadPoolExecutor(server.DELETED_AT_ONCE) as pool:
            list(pool.map(lambda each: self.headscale(*server.DELETE, each), ids))

    def kill(self) -> float:
        """Kill it, as `kill -9`, and start it again; the time of the kill (monotonic)."""
        at = time.monotonic()
        self._end(signal.SIGKILL)
        self._start()
        return at

    def line(self) -> list[str]:
        """The beginning of every command line for this server."""
        return [str(self.binary), "--config", str(self.folder / "config.yaml")]

    def _start(self) -> None:
        log = self.folder / "headscale.log"
        with log.open("ab") as file:
            line = [*self.prefix, *self.line(), "serve"]
            self._process = process = subprocess.Popen(line, stdout=file, stderr=file)
        ask = ["curl", "--cacert", self.trust, "--silent", "--fail", "--max-time", "1"]

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"Headscale ended: {log.read_text()[-1000:]}")
            return run([*ask, f"{self.url}/health"], check=False).status == 0

        until(answers, within=_UP_WITHIN, what="Headscale", seen=lambda: log.read_text()[-500:])

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _config(self) -> dict[str, Any]:
        folder = self.folder
        return {
            "server_url": self.url,
            "listen_addr": f"127.0.0.1:{self.port}",
            "tls_cert_path": str(folder / "own.pem"),
            "tls_key_path": str(folder / "own.pem"),
            "metrics_listen_addr": "",
            "grpc_listen_addr": f"127.0.0.1:{free_port()}",
            "noise": {"private_key_path": str(folder / "noise.key")},
            "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
            "derp": {"server": {"enabled": False}, "urls": [], "paths": [str(folder / "map.yaml")]},
            "disable_check_updates": True,
            "database": {
                "type": "sqlite",
                "sqlite": {"path": str(folder / "db.sqlite"), "write_ahead_log": True},
            },
            "policy": {"mode": "database"},
            "dns": {"magic_dns": True, "base_domain": "ts.load.test", "override_local_dns": False},
            "unix_socket": str(folder / "headscale.sock"),
            "log": {"level": "warn"},
            **({"tuning": dict(self.tuning)} if self.tuning else {}),
        }


# A map must not be empty; no virtual node ever dials this relay.
_MAP: Final = {
    "regions": {
        900: {
            "regionid": 900,
            "regioncode": "none",
            "regionname": "None",
            "nodes": [{"name": "900a", "regionid": 900, "hostname": "relay.load.test"}],
        }
    }
}
