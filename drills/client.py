"""A machine with the Tailscale client in the lab: somebody's server or laptop.

Not part of the product: it joins as any machine would, with a key and the server's URL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.world.command import Done
from lab.world.host import Host, HostSpec
from lab.world.world import World

DIST: Final = Path(__file__).parent.parent / "dist"
_UNIT: Final = """\
[Unit]
Description=Tailscale client
After=network-online.target
[Service]
ExecStart=/usr/local/bin/tailscaled --statedir=/var/lib/tailscale --no-logs-no-support
Restart=always
StateDirectory=tailscale
RuntimeDirectory=tailscale
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Client:
    """One booted machine that runs tailscaled."""

    host: Host

    @classmethod
    def boot(cls, world: World, name: str, *, ipv6: bool = False) -> Client:
        """A fresh machine with a public address, and with IPv6 if asked."""
        spec = HostSpec(name=name, user_data=b"#cloud-config\n")
        host = world.add_host(spec, public=True, ipv6=ipv6)
        for program in ("tailscale", "tailscaled"):
            install(host, program)
        _write(host, "/etc/systemd/system/tailscaled.service", _UNIT.encode(), "644")
        host.exec(["systemctl", "daemon-reload"])
        host.exec(["systemctl", "enable", "--now", "tailscaled"])
        return cls(host)

    def join(self, server: str, key: str) -> None:
        """Become a node of the mesh; the key goes through a file that is gone afterwards."""
        _write(self.host, "/run/mesh-key", key.encode(), "600")
        try:
            self.host.exec(
                [
                    *("tailscale", "up", "--login-server", server),
                    *("--auth-key", "file:/run/mesh-key", "--timeout", "90s"),
                    *("--hostname", self.host.name),
                ],
                within=120,
            )
        finally:
            self.host.exec(["rm", "-f", "/run/mesh-key"])

    def tailscale(self, *words: str, check: bool = True, within: float = 60) -> Done:
        """What `tailscale WORDS` says."""
        return self.host.exec(["tailscale", *words], check=check, within=within)

    @property
    def address(self) -> str:
        """Its mesh address."""
        return self.tailscale("ip", "-4").stdout.strip()

    def status(self) -> dict[str, Any]:
        """`tailscale status` as data."""
        found: dict[str, Any] = json.loads(self.tailscale("status", "--json").stdout)
        return found

    def ping(self, other: Client, flags: Sequence[str] = ()) -> str:
        """The last answer to `tailscale ping`: it says by which way and in what time."""
        said = self.tailscale("ping", *flags, other.address, check=False, within=120)
        return said.stdout.strip().splitlines()[-1] if said.stdout.strip() else said.stderr.strip()


def install(host: Host, program: str) -> None:
    """Put a built program into /usr/local/bin of a machine."""
    manifest = json.loads((DIST / "manifest.json").read_text())
    content = (DIST / manifest[program]["path"]).read_bytes()
    _write(host, f"/usr/local/bin/{program}", content, "755")


def _write(host: Host, path: str, content: bytes, mode: str) -> None:
    host.exec(["install", "-D", "-m", mode, "/dev/stdin", path], stdin=content)
