"""What the stack says of addresses: /etc/mesh/addresses.json.

{"ranges": [{"name", "cidr", "tags": […], "groups": […], "users": […], "fixed": {node: …}}],
 "names": ["regular expression", …],
 "hold_socket": "/run/…", "database": "host=… user=headscale_hs_1 …", "password_file": "/etc/…"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from registry.addresses.plan import Range
from registry.trouble import RegistryError


@dataclass(frozen=True)
class Config:
    """`names` are what the name of a node may look like; `database` is Headscale's own login,
    which the fence closes when another host takes over."""

    ranges: Sequence[Range]
    names: Sequence[str]
    hold_socket: Path
    database: str
    password_file: Path


def load(path: Path) -> Config:
    """From the file. Raises RegistryError."""
    try:
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Config(
            ranges=[_range(entry) for entry in values["ranges"]],
            names=values["names"],
            hold_socket=Path(values["hold_socket"]),
            database=values["database"],
            password_file=Path(values["password_file"]),
        )
    except (OSError, ValueError, KeyError) as error:
        raise RegistryError(f"{path}: {type(error).__name__}: {error}") from None


def _range(entry: Mapping[str, Any]) -> Range:
    return Range(
        name=entry["name"],
        cidr=IPv4Network(entry["cidr"]),
        tags=frozenset(entry["tags"]),
        groups=frozenset(entry["groups"]),
        users=frozenset(entry["users"]),
        fixed={node: IPv4Address(address) for node, address in entry["fixed"].items()},
    )
