"""This control host: where its programs and files are, and whether Headscale runs here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Place:
    """The paths of one host; the defaults are those of a control host."""

    headscale: str = "/usr/local/bin/headscale"
    config: Path = Path("/etc/headscale/config.yaml")  # Headscale's
    guard: Path = Path("/etc/mesh/guard.json")
    addresses: Path = Path("/etc/mesh/addresses.json")  # the plan of addresses
    seal: Path = Path("/etc/mesh/registry.seal")  # opens what the database keeps sealed

    def guard_config(self) -> dict[str, Any]:
        """The guard's configuration; nothing before the host has one."""
        return _read(self.guard)

    def status(self) -> dict[str, Any]:
        """What the guard last said of itself; nothing when it never did."""
        path = self.guard_config().get("status_file")
        return _read(Path(path)) if path else {}

    def active(self) -> bool:
        """Whether this host runs Headscale now, and it answers."""
        status = self.status()
        return status.get("role") == "active" and bool(status.get("server_answers"))

    def holder(self) -> str | None:
        """The host that runs it, as far as this one knows; None when nobody does."""
        return self.status().get("holder") or None


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found
