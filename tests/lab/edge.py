"""The public edge of the booted mesh as an outsider asks it."""

from __future__ import annotations

from typing import Final

from lab.world.command import Done
from tests.lab.mesh import Mesh

CONTROLS: Final = ("hs-1", "hs-2")
RELAYS: Final = ("derp-bj", "derp-sh", "derp-hk", "derp-sg")
PINNED: Final = "derp-sh"  # of stack lab; derp-hk gets its certificate by HTTP-01


def public_name(mesh: Mesh, host: str) -> str:
    """The name by which clients know a host."""
    server = mesh.outputs["server_url"].removeprefix("https://")
    return server if host in CONTROLS else f"{host}.{server.split('.', 1)[1]}"


def ask(mesh: Mesh, host: str, path: str, *more: str) -> Done:
    """An outsider's request to one host by its public name."""
    name, address = public_name(mesh, host), mesh.outputs["hosts"][host]["address"]
    loosely = ["--insecure"] if host == PINNED else []
    return mesh.device.host.exec(
        [
            *("curl", "--silent", "--max-time", "5", "--include", *loosely, *more),
            *("--resolve", f"{name}:443:{address}", f"https://{name}{path}"),
        ],
        check=False,
    )


def certificate(mesh: Mesh, host: str, words: str) -> str:
    """What `openssl x509 WORDS` says of the certificate that a host shows; nothing without one."""
    name, address = public_name(mesh, host), mesh.outputs["hosts"][host]["address"]
    line = (
        f"openssl s_client -connect {address}:443 -servername {name} </dev/null 2>/dev/null"
        f" | openssl x509 {words}"
    )
    return mesh.device.host.exec(["sh", "-c", line], check=False).stdout.strip()
