"""The extra DNS records that Headscale tells clients, brought up to date on both control hosts.

Fixed records come from the stack. A record of a node follows the node: the active host asks its
Headscale for the addresses and leaves them in the database, where the other host finds them.
Headscale reads the file again whenever another one takes its place.

    {"file": "/var/lib/mesh-records/records.json",
     "fixed": [{"name": "grafana.ts.company.local", "type": "A", "value": "100.64.2.10"}],
     "nodes": {"gitlab.ts.company.local": "prod-gitlab-bj-001"}}
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

CONFIG: Final = Path("/etc/mesh/records.json")
GUARD: Final = Path("/etc/mesh/guard.json")
HEADSCALE: Final = ("/usr/local/bin/headscale", "--config", "/etc/headscale/config.yaml")
ANSWER_SECONDS: Final = 15  # of Headscale, which gives itself five for one call

Addresses = dict[str, list[str]]  # of nodes, by name
Record = dict[str, str]


class PlaceError(Exception):
    """Headscale or the database does not tell."""


class Place(Protocol):
    """Where the addresses of nodes come from. All but `active` raise PlaceError."""

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


def refresh(config: Config, place: Place) -> Result:
    """Bring the file up to date.

    Where nobody tells the addresses of nodes, those in the file stay. A name whose node is not
    there is left out, and told. OSError when the file cannot be written.
    """
    result = Result()
    before = _read(config.file)
    addresses = _addresses(config, place, before, result)
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
    config: Config, place: Place, before: list[Record] | None, result: Result
) -> Addresses:
    """Of the nodes that records name."""
    if not config.nodes:
        return {}
    try:
        if not place.active():
            return place.kept()
        known = place.nodes()
    except PlaceError as error:
        result.warnings.append(f"the addresses of nodes stay as they were: {error}")
        return _in_file(before or [])
    addresses = {node: known[node] for node in sorted({*config.nodes.values()}) if node in known}
    try:
        if place.kept() != addresses:
            place.keep(addresses)
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
    """This control host; the files that the guard works with tell the rest."""

    def active(self) -> bool:
        try:
            path = json.loads(GUARD.read_text(encoding="utf-8"))["status_file"]
            status = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        return status["role"] == "active" and bool(status["server_answers"])

    def nodes(self) -> Addresses:
        command = [*HEADSCALE, "-o", "json", "nodes", "list"]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlaceError(f"list the nodes: {error}") from None
        if result.returncode != 0:
            raise PlaceError(f"list the nodes: {' '.join(result.stderr.split()[-30:])}")
        try:
            return listed(result.stdout)
        except ValueError as error:
            raise PlaceError(f"list the nodes: {error}") from None

    def kept(self) -> Addresses:
        rows = self._ask("SELECT nodes FROM fence.records")
        return dict(rows[0][0]) if rows else {}

    def keep(self, addresses: Addresses) -> None:
        self._ask(
            "INSERT INTO fence.records (nodes) VALUES (%s::jsonb) ON CONFLICT (one)"
            " DO UPDATE SET nodes = excluded.nodes RETURNING one",
            json.dumps(addresses),
        )

    def _ask(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        import psycopg2  # only where a record names a node

        try:
            with self._connected() as connection, connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                rows: list[tuple[Any, ...]] = cursor.fetchall()
                return rows
        except (psycopg2.Error, OSError) as error:
            raise PlaceError(f"ask the database: {' '.join(str(error).split())}") from None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """As the guard's role, which may not touch Headscale's own tables."""
        import psycopg2

        config = json.loads(GUARD.read_text(encoding="utf-8"))
        password = Path(config["password_file"]).read_text(encoding="utf-8").strip()
        connection = psycopg2.connect(
            config["database"],
            password=password,
            connect_timeout=5,
            application_name="mesh-records",
            options="-c statement_timeout=3s -c lock_timeout=2s",
        )
        with contextlib.closing(connection):
            yield connection


def listed(text: str) -> Addresses:
    """The addresses of each node in what `headscale nodes list -o json` says, by the node's name
    in the mesh; the form changes with Headscale 0.30."""
    found: Addresses = {}
    for node in json.loads(text) or []:
        name = node.get("given_name") or node.get("givenName") or node.get("name")
        addresses = node.get("ip_addresses") or node.get("ipAddresses") or []
        if name and addresses:
            found[name] = [str(address) for address in addresses]
    return found


def add(subparsers: Any) -> None:
    """The subcommand `records`; `run` of what it parses gives the exit status."""
    parser = subparsers.add_parser("records", help="bring the extra DNS records up to date")
    options(parser)
    parser.set_defaults(run=run)


def options(parser: argparse.ArgumentParser) -> None:
    """What may follow on the command line."""
    parser.add_argument(
        "--quiet", action="store_true", help="tell of a missing node only when the records change"
    )


def run(given: argparse.Namespace) -> int:
    """Bring them up to date and print them as JSON; the exit status."""
    try:
        result = refresh(Config.load(CONFIG), Here())
    except (OSError, ValueError, KeyError) as error:
        print(f"mesh-registry: records: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    tell_missing = result.changed or not given.quiet
    left_out = [
        f"{name} is left out: there is no node {node}" for name, node in result.missing.items()
    ]
    for warning in [*result.warnings, *(left_out if tell_missing else [])]:
        print(f"mesh-registry: records: {warning}", file=sys.stderr)
    told = {"records": result.records, "missing": result.missing, "changed": result.changed}
    print(json.dumps(told, sort_keys=True))
    return 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Bring the extra DNS records up to date.")
    options(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
