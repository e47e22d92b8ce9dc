"""What the programs on ops-1 need to know, read from /etc/mesh/relays.json."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from guard.etcd import Etcd, Trust
from relays.decision import Timing
from relays.store import Store


@dataclass(frozen=True, kw_only=True)
class Config:
    """Paths are absolute."""

    relays: dict[str, str]  # code → name of the region
    metrics: str  # URL of derpprobe's
    endpoints: list[str]  # etcd's, one a voter
    prefix: str  # of all keys in etcd
    ca: str
    certificate: str
    key: str
    folder: str  # of what the watcher tells
    each: float  # seconds between two looks
    away_after: float
    back_after: float

    @property
    def status(self) -> Path:
        """What the watcher tells the command."""
        return Path(self.folder) / "status.json"

    @property
    def timing(self) -> Timing:
        """When relays leave and come back."""
        return Timing(away_after=self.away_after, back_after=self.back_after)

    def store(self) -> Store:
        """The decision and the wishes in etcd."""
        return Store(Etcd(self.endpoints, self._trust()), self.prefix)

    def _trust(self) -> Trust:
        # The key is etcd's own; systemd hands the service a copy, root reads the file itself.
        handed = os.environ.get("CREDENTIALS_DIRECTORY")
        key = str(Path(handed) / Path(self.key).name) if handed else self.key
        return Trust(ca=self.ca, certificate=self.certificate, key=key)


def load(path: Path) -> Config:
    """The configuration in a file. Raises OSError, ValueError or TypeError."""
    return Config(**json.loads(path.read_text(encoding="utf-8")))
