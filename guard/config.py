"""What a guard needs to know, read from /etc/mesh/guard.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


class ConfigError(Exception):
    """A configuration that cannot be used; says which file, key and value."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds. Headscale is dead `margin` before the lease can end elsewhere."""

    lease: int = 5  # how long a silent holder keeps the lease
    margin: float = 1.0
    renew: float = 1.0  # between two renewals, at each voter
    hung: float = 5.0  # a server that does not answer for so long is killed
    start: float = 120.0  # what a server may take to answer first; migrations run then
    stop: float = 1.0  # what a server may take to end on request
    database: float = 5.0  # the other host's turn when only this one cannot reach the database
    rest: float = 5.0  # after a crash loop: the other host's turn
    crashes: int = 3  # so many ends of the server...
    crash_window: float = 60.0  # ...within so long are a crash loop


@dataclass(frozen=True, kw_only=True)
class Config:
    """One guard. Paths are absolute; `endpoints` are etcd's URLs, one a voter.

    `database` is a libpq connection string without a password, which `password_file` holds.
    """

    host: str
    peers: tuple[str, ...]  # the other control hosts
    endpoints: tuple[str, ...]
    prefix: str  # of all keys in etcd, such as /mesh/headscale
    ca: str
    certificate: str
    key: str
    database: str
    password_file: str
    command: tuple[str, ...]  # runs the server in the foreground
    probe: str  # URL that the server answers while it works
    probe_name: str  # the name in its certificate
    metrics_address: str
    metrics_port: int
    status_file: str
    timing: Timing


def load(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    timing = Timing(**_known(path, values.pop("timing", {}), Timing))
    if timing.lease - timing.margin < 2 * timing.renew:
        raise ConfigError(
            f"{path}: timing.lease {timing.lease}: must be at least {timing.margin:g} (margin) "
            f"and two renewals of {timing.renew:g} s"
        )
    known = _known(path, values, Config)
    missing = {field.name for field in fields(Config)} - known.keys() - {"timing"}
    if missing:
        raise ConfigError(f"{path}: missing: {', '.join(sorted(missing))}")
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return Config(**{**known, **lists}, timing=timing)


def _known(path: Path, values: dict[str, Any], model: type[Any]) -> dict[str, Any]:
    strange = values.keys() - {field.name for field in fields(model)}
    if strange:
        raise ConfigError(f"{path}: no such key: {', '.join(sorted(strange))}")
    return values
