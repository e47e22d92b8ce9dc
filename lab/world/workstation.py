"""The operator's workstation: where people and programs outside the clouds stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.world import addresses
from lab.world.command import NAMESPACES, Done, inside, run
from lab.world.state import State, write_text

_TRUSTED: Final = Path("/etc/ssl/certs/ca-certificates.crt")
# Where OpenSSL and Go, curl, and the SDKs of AWS look.
_TRUST: Final = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
# In a mount namespace of the command's own, so that this machine's files stay as they are.
_BIND: Final = 'for f in resolv.conf nsswitch.conf; do mount --bind "$1/$f" "/etc/$f"; done; shift'


@dataclass(frozen=True)
class Operator:
    """Runs programs of this machine with the lab's network, names and trusted CAs."""

    state: State

    @property
    def namespace(self) -> Path:
        """Its network namespace, as a file."""
        return NAMESPACES / self.state.namespace("operator")

    @property
    def folder(self) -> Path:
        """Its own versions of files in /etc."""
        return self.state.root / "operator"

    def prepare(self, ca: Path) -> None:
        """Write its files; `ca` is trusted besides what this machine trusts."""
        write_text(self.folder / "resolv.conf", f"nameserver {addresses.NAMESERVER}\n", 0o644)
        write_text(self.folder / "nsswitch.conf", "passwd: files\nhosts: files dns\n", 0o644)
        trusted = _TRUSTED.read_text() if _TRUSTED.exists() else ""
        write_text(self.folder / "ca-certificates.crt", trusted + ca.read_text(), 0o644)

    def run(
        self,
        line: Sequence[str],
        *,
        stdin: str | bytes = "",
        check: bool = True,
        within: float | None = 120,
    ) -> Done:
        """The program's result, run as root on the workstation."""
        return run(self.line(line), stdin=stdin, check=check, within=within)

    def line(self, line: Sequence[str]) -> list[str]:
        """The command line of this machine that runs `line` on the workstation."""
        bundle = self.folder / "ca-certificates.crt"
        trust = [
            f"{name}={bundle}" for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
        ]
        script = f'set -e; {_BIND}; exec "$@"'
        shell = ["unshare", "--mount", "sh", "-c", script, "sh", str(self.folder)]
        return inside(self.state.namespace("operator"), [*shell, "env", *trust, *line])
