"""Two relays, derpprobe, the watcher and the writer of the map, all real and on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from lab.world.ports import free_port
from mesh import derp
from relays import command, config
from tests.guard import certificates, waiting
from tests.guard.certificates import Authority
from tests.guard.voters import Voters

ROOT: Final = Path(__file__).resolve().parents[2]
KEY: Final = "0123456789abcdef" * 4
NAME: Final = certificates.SERVER_NAME  # in every certificate
AWAY_AFTER: Final = 3  # s; results tell whole seconds
BACK_AFTER: Final = 2


def program(name: str) -> str:
    """The path of a built program."""
    manifest = json.loads((ROOT / "dist/manifest.json").read_text())
    return str(ROOT / "dist" / manifest[name]["path"])


class Process:
    """A program that can be started again after its end."""

    def __init__(self, log: Path, command: list[str], **environment: str) -> None:
        self._log, self._command = log, command
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, env=self._environment
            )

    def end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


class Relay:
    """One derper. Without Headscale it lets nobody in but who has the key."""

    def __init__(self, folder: Path, code: str, number: int, authority: Authority) -> None:
        shown = authority.issue(code)
        own = folder / code
        own.mkdir()
        self.certificate = own / f"{NAME}.crt"
        shutil.copy(shown.certificate, self.certificate)
        shutil.copy(shown.key, own / f"{NAME}.key")
        (own / "mesh.key").write_text(f"{KEY}\n")
        self.code, self.number = code, number
        self.port, self.stun_port = free_port(), free_port()
        self.process = Process(
            folder / f"{code}.log",
            [
                program("derper"),
                *(f"-a=127.0.0.1:{self.port}", "-http-port=-1", f"-stun-port={self.stun_port}"),
                *(f"-c={own}/derper.key", "-certmode=manual", f"-certdir={own}"),
                *(f"-hostname={NAME}", f"-mesh-psk-file={own}/mesh.key"),
                *("-verify-client-url=http://127.0.0.1:1/", "-verify-client-url-fail-open=false"),
            ],
        )

    def region(self, pinned: bool) -> dict[str, Any]:
        """Its part of the map; `pinned` is whether its very certificate is in it."""
        node: dict[str, Any] = {
            "name": f"{self.number}a",
            "regionid": self.number,
            "hostname": NAME,
            "ipv4": "127.0.0.1",
            "ipv6": "none",
            "stunport": self.stun_port,
            "derpport": self.port,
            "canport80": False,
        }
        if pinned:
            der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
            node["certname"] = f"sha256-raw:{hashlib.sha256(der).hexdigest()}"
        return {
            "regionid": self.number,
            "regioncode": self.code,
            "regionname": self.code.upper(),
            "nodes": [node],
        }


class Mesh:
    """All of it; nothing runs before `start`."""

    def __init__(self, folder: Path, voters: Voters, authority: Authority) -> None:
        self._folder, self.map = folder, folder / "derp.yaml"
        self.relays = {
            code: Relay(folder, code, number, authority)
            for code, number in (("aa", 901), ("bb", 902))
        }
        regions = {
            str(relay.number): relay.region(pinned=code == "aa")
            for code, relay in self.relays.items()
        }
        self._full = self._write("full.json", {"regions": regions})
        etcd = {
            "endpoints": [voter.url for voter in voters.each],
            "prefix": f"/{folder.name}",
            "ca": voters.trust.ca,
            "certificate": voters.trust.certificate,
            "key": voters.trust.key,
        }
        trusted = folder / "trusted"
        trusted.mkdir()
        shutil.copy(authority.certificate, trusted)
        address = f"127.0.0.1:{free_port()}"
        self.probes = self._derpprobe(address, trusted, derp.for_probes({"regions": regions}))
        self.watch = self._watch(f"http://{address}/debug/varz", etcd)
        writer = self._write("map.json", {**etcd, "full": self._full, "map": str(self.map)})
        self.writer = Process(folder / "map.log", [sys.executable, "-m", "relays.map", writer])

    def _write(self, name: str, value: object) -> str:
        path = self._folder / name
        path.write_text(json.dumps(value))
        return str(path)

    def _derpprobe(self, address: str, trusted: Path, regions: object) -> Process:
        intervals = [f"-{kind}interval=1s" for kind in ("", "mesh-", "stun-", "tls-")]
        return Process(
            self._folder / "derpprobe.log",
            [
                *(program("derpprobe"), f"-derp-map=file://{self._write('probe.json', regions)}"),
                *(f"-listen={address}", f"-mesh-psk-file={self._folder}/aa/mesh.key", *intervals),
            ],
            SSL_CERT_DIR=str(trusted),
        )

    def _watch(self, metrics: str, etcd: Mapping[str, Any]) -> Process:
        path = self._write(
            "relays.json",
            {
                **etcd,
                "relays": {code: code.upper() for code in self.relays},
                "metrics": metrics,
                "folder": str(self._folder),
                "each": 0.2,
                "away_after": AWAY_AFTER,
                "back_after": BACK_AFTER,
            },
        )
        self.config = config.load(Path(path))
        return Process(self._folder / "watch.log", [sys.executable, "-m", "relays.watch", path])

    def start(self) -> None:
        """Everything, until each relay passes its probes and Headscale has its map."""
        for process in self._processes():
            process.start()
        self.until("every relay passes", lambda: all(map(self.passes, self.relays)))
        self.until_map({"aa", "bb"})

    def end(self) -> None:
        for process in self._processes():
            process.end()

    def _processes(self) -> list[Process]:
        relays = [relay.process for relay in self.relays.values()]
        return [*relays, self.probes, self.watch, self.writer]

    def until(self, what: str, look: Callable[[], object]) -> None:
        """Wait; a failure tells what the watcher knew."""
        try:
            waiting.eventually(what, look)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.config.status.read_text()}") from None

    def until_map(self, codes: set[str]) -> None:
        """Wait until these relays and no others are in the map that Headscale reads."""
        self.until(f"the map has {sorted(codes)}", lambda: self.in_map() == codes)

    def in_map(self) -> set[str]:
        """The relays in the map that Headscale reads."""
        if not self.map.exists():
            return set()
        regions = yaml.safe_load(self.map.read_text())["regions"]
        return {region["regioncode"] for region in regions.values()}

    def status(self, code: str) -> dict[str, Any]:
        """What the watcher tells of a relay."""
        found: dict[str, Any] = next(r for r in self.told()["relays"] if r["relay"] == code)
        return found

    def told(self) -> dict[str, Any]:
        """What the watcher tells."""
        if not self.config.status.exists():
            return {"relays": [{"relay": code, "probes": {}} for code in self.relays]}
        found: dict[str, Any] = json.loads(self.config.status.read_text())
        return found

    def passes(self, code: str) -> bool:
        """Whether a relay passes both essential probes."""
        probes = self.status(code)["probes"]
        return all(probes.get(kind, {}).get("passed") for kind in ("derp_mesh", "derp_udp"))

    def operator(self, *words: str) -> str:
        """What `mesh-relays` answers."""
        return command.run(words, self.config, self.config.store())
