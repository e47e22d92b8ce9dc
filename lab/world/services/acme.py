"""The ACME server: Pebble under the name and path of the public one.

A host that asks Let's Encrypt for a certificate gets one here. Pebble makes a new root at each
start; it is cross-signed by the lab's public test CA and that certificate added to each chain,
so that what is issued is trusted wherever the CA is. Pebble itself keeps nothing on disk.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from lab.world import addresses
from lab.world.authority import authority
from lab.world.command import until
from lab.world.errors import WorldError
from lab.world.services import sockets, web
from lab.world.state import State, read_json, write_json, write_text

HOSTS: Final = ("acme-v02.api.letsencrypt.org", "acme-staging-v02.api.letsencrypt.org")
_DIST: Final = Path(__file__).resolve().parents[3] / "dist"
_PEBBLE: Final = "https://127.0.0.1:14000"
_MANAGEMENT: Final = "https://127.0.0.1:15000"
_ENVIRONMENT: Final = {
    "PEBBLE_VA_NOSLEEP": "1",
    "PEBBLE_WFE_NONCEREJECT": "0",
    "PEBBLE_AUTHZREUSE": "0",  # each order is a challenge, so that a renewal shows what it needs
}
_START_SECONDS: Final = 15
VALIDITY_SECONDS: Final = 90 * 24 * 3600  # of a certificate, as at Let's Encrypt
_PATHS: Final = {"/directory": "/dir"}  # where the public server has what Pebble has elsewhere
_CHAIN: Final = "application/pem-certificate-chain"
# Headers that belong to one connection (RFC 9110, 7.6.1) or are made anew.
_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


def binary() -> Path | None:
    """Pebble's executable, if the artifacts have been built."""
    try:
        manifest = json.loads((_DIST / "manifest.json").read_text())
    except FileNotFoundError:
        return None
    found = _DIST / manifest["pebble"]["path"] if "pebble" in manifest else None
    return found if found is not None and found.exists() else None


def serve(state: State, ready: Callable[[], None]) -> None:
    """Answer until killed; Pebble goes with this process."""
    ca = authority()
    folder = state.services / "pebble"
    validity = read_json(state.world, {}).get("acme_validity", VALIDITY_SECONDS)
    pebble = _start(folder, ca.issue(["localhost", "127.0.0.1"]), validity)
    client = httpx.Client(verify=web.trusting(ca.certificate), timeout=60)

    class Handler(_Handler):
        upstream = client
        cross = ca.cross_sign(_root(pebble, client, folder))

    context = web.tls_context(ca, state.services / "certificates", HOSTS.__contains__)
    server = web.Server(sockets.tcp(state, addresses.ACME, 443), Handler, context)
    thread = server.start()
    ready()
    thread.join()


def _start(folder: Path, identity: bytes, validity: int) -> subprocess.Popen[bytes]:
    executable = binary()
    if executable is None:
        raise WorldError("there is no Pebble", "`make dist` builds it")
    write_text(folder / "identity.pem", identity.decode())
    settings = {
        "listenAddress": _PEBBLE.removeprefix("https://"),
        "managementListenAddress": _MANAGEMENT.removeprefix("https://"),
        "certificate": str(folder / "identity.pem"),
        "privateKey": str(folder / "identity.pem"),
        "httpPort": 80,
        "tlsPort": 443,
        "keyAlgorithm": "ecdsa",
        "caaIdentities": ["letsencrypt.org"],
        # One profile only: an order that names none gets any.
        "profiles": {"default": {"description": "the lab's", "validityPeriod": validity}},
    }
    write_json(folder / "config.json", {"pebble": settings})
    command = [str(executable), "-config", str(folder / "config.json")]
    resolver = ["-dnsserver", f"{addresses.NAMESERVER}:53"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command, *resolver],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _root(pebble: subprocess.Popen[bytes], client: httpx.Client, folder: Path) -> bytes:
    """The root certificate of the running Pebble."""
    answers: list[bytes] = []

    def answered() -> bool:
        if pebble.poll() is not None:
            raise WorldError("Pebble ended", (folder / "log").read_text()[-2000:])
        try:
            answers.append(client.get(f"{_MANAGEMENT}/roots/0").raise_for_status().content)
        except httpx.TransportError:
            return False
        return True

    until(answered, within=_START_SECONDS, what="answer of Pebble")
    return answers[0]


class _Handler(web.Handler):
    upstream: httpx.Client
    cross: bytes

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        self._forward()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _forward(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        path = _PATHS.get(self.path, self.path)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        answer = self.upstream.request(
            self.command, _PEBBLE + path, content=self.rfile.read(length), headers=headers
        )
        content = answer.content
        if answer.headers.get("Content-Type", "").startswith(_CHAIN):
            content += self.cross
        self.send_response(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
