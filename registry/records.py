"""The extra DNS records that Headscale tells clients, brought up to date on both control hosts.

Fixed records come from the stack. A record of a node follows the node: the active host asks its
Headscale for the addresses and leaves them in the database, where the other host finds them.
Headscale reads the file again whenever another one takes its place.

    {"file": "/var/lib/mesh-records/records.json",
     "fixed": [{"name": "grafana.ts.company.local", "type": "A", "value": "100.64.2.10"}],
     "nodes": {"gitlab.ts.company.local": "prod-gitlab-bj-001"}}
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from registry import nodes, place
from registry.server import Headscale
from registry.store import Store
from registry.trouble import RegistryError

CONFIG: Final = Path("/etc/mesh/records.json")

Addresses = dict[str, list[str]]  # of nodes, by name
Record = dict[str, str]


class PlaceError(Exception):
    """Headscale or the database does not tell."""


class Source(Protocol):
    """What tells the addresses of nodes. All but `active` raise PlaceError."""

    def active(self) -> bool:
        """Whether this host runs Headscale now, and it answers."""

    def nodes(self) -> Addresses:
        """What Headscale knows."""

    def kept(self) -> Addresses:
        """What the active host left in the database last."""

    def keep(self, addresses: Addresses) -> None:
        """Leave it there."""


@dataclass(frozen=True)
class Config:
    """What the stack says: the form is above."""

    file: Path
    fixed: tuple[Record, ...]
    nodes: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> Config:
        """From a file; OSError, ValueError or KeyError when it is not there or not so."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(Path(values["file"]), tuple(values["fixed"]), dict(values["nodes"]))


@dataclass
class Result:
    """What is in the file now: addresses by name, and what it lacks."""

    records: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # node by the name that it leaves open
    changed: bool = False
    warnings: list[str] = field(default_factory=list)


def refresh(config: Config, source: Source) -> Result:
    """Bring the file up to date.

    Where nobody tells the addresses of nodes, those in the file stay. A name whose node is not
    there is left out, and told. OSError when the file cannot be written.
    """
    result = Result()
    before = _read(config.file)
    addresses = _addresses(config, source, before, result)
    records = list(config.fixed)
    for name, node in sorted(config.nodes.items()):
        found = [_record(name, address, node) for address in addresses.get(node, ())]
        records += found
        if not found:
            result.missing[name] = node
    for record in records:
        result.records.setdefault(record["name"], []).append(record["value"])
    result.changed = records != before
    if result.changed:
        _replace(config.file, json.dumps(records, indent=2) + "\n")
    return result


def _addresses(
    config: Config, source: Source, before: list[Record] | None, result: Result
) -> Addresses:
    """Of the nodes that records name."""
    if not config.nodes:
        return {}
    try:
        if not source.active():
            return source.kept()
        known = source.nodes()
    except PlaceError as error:
        result.warnings.append(f"the addresses of nodes stay as they were: {error}")
        return _in_file(before or [])
    addresses = {node: known[node] for node in sorted({*config.nodes.values()}) if node in known}
    try:
        if source.kept() != addresses:
            source.keep(addresses)
    except PlaceError as error:
        result.warnings.append(f"the other control host is not told: {error}")
    return addresses


def _in_file(records: list[Record]) -> Addresses:
    """Which addresses the nodes had when the file was written."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        if "node" in record:
            found.setdefault(record["node"], {})[record["value"]] = None
    return {node: list(addresses) for node, addresses in found.items()}


def _record(name: str, address: str, node: str) -> Record:
    """One record; Headscale does not look at the node."""
    kind = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
    return {"name": name, "type": kind, "value": address, "node": node}


def _read(path: Path) -> list[Record] | None:
    """The records in the file; None when there are none to be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, list) and all(isinstance(record, dict) for record in found)
    return found if whole else None


def _replace(path: Path, text: str) -> None:
    """The whole new text or the whole old one: Headscale reads as soon as anything changes, and a
    part of the text would be an error."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # Headscale does not start with half a file
        part.chmod(0o644)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


class Here:
    """A control host."""

    def __init__(self, place: place.Place) -> None:
        self._place = place

    def active(self) -> bool:
        return self._place.active()

    def nodes(self) -> Addresses:
        try:
            found = nodes.listed(Headscale(self._place))
        except RegistryError as error:
            raise PlaceError(str(error)) from None
        return {
            node["name"]: [node[family] for family in ("ipv4", "ipv6") if node[family]]
            for node in found
        }

    def kept(self) -> Addresses:
        rows = self._ask("SELECT nodes FROM fence.records")
        return dict(rows[0][0]) if rows else {}

    def keep(self, addresses: Addresses) -> None:
        self._ask(
            "INSERT INTO fence.records (nodes) VALUES (%s::jsonb) ON CONFLICT (one)"
            " DO UPDATE SET nodes = excluded.nodes",
            json.dumps(addresses),
        )

    def _ask(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            with Store(self._place) as store:
                return store.ask(statement, *values)
        except RegistryError as error:
            raise PlaceError(str(error)) from None


def run(here: place.Place, *, quiet: bool = False) -> dict[str, Any]:
    """Bring them up to date; what they are now. Warnings go to standard error, and with `quiet` a
    missing node is told only when the records change. Raises RegistryError.
    """
    try:
        result = refresh(Config.load(CONFIG), Here(here))
    except (OSError, ValueError, KeyError) as error:
        raise RegistryError(f"records: {type(error).__name__}: {error}") from None
    left_out = [
        f"{name} is left out: there is no node {node}" for name, node in result.missing.items()
    ]
    for warning in [*result.warnings, *(left_out if result.changed or not quiet else [])]:
        print(f"mesh-registry: records: {warning}", file=sys.stderr)
    return {"records": result.records, "missing": result.missing, "changed": result.changed}
