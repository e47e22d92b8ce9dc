"""What an arbiter needs to know, read from /etc/mesh/arbiter.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guard import config
from guard.arbiter.verdict import Rules

_RULES: Final = Rules()


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an arbiter needs to know. Paths are absolute; `endpoints` are etcd's URLs, the
    nearest voter's first. `patroni` and `ports` are by member: the URL of its REST API, and
    `host:port` wherever a host that lives would answer.
    """

    host: str
    endpoints: tuple[str, ...]
    prefix: str  # of Patroni's keys in etcd, such as /service/mesh
    intent: str  # the arbiter's own key
    ca: str
    certificate: str
    key: str
    patroni: dict[str, str]
    ports: dict[str, list[str]]
    metrics_address: str
    metrics_port: int
    status_file: str
    rules: Rules = _RULES


def load(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError, which tells all that is wrong."""
    made = Config(**config.read(path, Config, "rules", Rules))
    config.refuse(path, _wrong_together(made))
    return made


def _wrong_together(made: Config) -> Iterator[str]:
    if len(made.patroni) != 2:
        yield f"patroni: {', '.join(made.patroni) or 'nobody'}: must be two members"
    if made.ports.keys() != made.patroni.keys():
        yield f"ports: {', '.join(made.ports) or 'nobody'}: must be those of patroni"
    if made.rules.unrenewed <= made.rules.doubt:
        yield f"rules.unrenewed: {made.rules.unrenewed:g}: must be more than rules.doubt"
