"""Covers which records a control host writes, by what its Headscale and the database tell.

With the real ones: tests/dns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from registry import records
from registry.records import Addresses, Config, PlaceError

GRAFANA: Final = {"name": "grafana.ts.test", "type": "A", "value": "100.64.2.10"}
GITLAB: Final = "gitlab.ts.test"
NODE: Final = "prod-gitlab-bj-001"
BOTH: Final = ["100.65.1.9", "fd7a:115c:a1e0::109"]


@dataclass
class Told:
    """A host to which all is told; a PlaceError stands for what is not."""

    is_active: bool = True
    known: Addresses | PlaceError = field(default_factory=dict)
    left: Addresses | PlaceError = field(default_factory=dict)

    def active(self) -> bool:
        return self.is_active

    def nodes(self) -> Addresses:
        return _or_raise(self.known)

    def kept(self) -> Addresses:
        return _or_raise(self.left)

    def keep(self, addresses: Addresses) -> None:
        _or_raise(self.left)
        self.left = addresses


def _or_raise(told: Addresses | PlaceError) -> Addresses:
    if isinstance(told, PlaceError):
        raise told
    return told


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """One fixed record, and one of a node."""
    return Config(tmp_path / "records.json", (GRAFANA,), {GITLAB: NODE})


def written(config: Config) -> list[dict[str, Any]]:
    """What Headscale would read."""
    found: list[dict[str, Any]] = json.loads(config.file.read_text())
    return found


def test_a_name_gets_the_addresses_of_its_node(config: Config) -> None:
    result = records.refresh(config, Told(known={NODE: BOTH, "other": ["100.64.0.1"]}))

    assert result.records == {"grafana.ts.test": ["100.64.2.10"], GITLAB: BOTH}
    assert [(entry["type"], entry["value"]) for entry in written(config)] == [
        ("A", "100.64.2.10"),
        ("A", BOTH[0]),
        ("AAAA", BOTH[1]),
    ]


def test_the_standby_writes_what_the_active_host_left(config: Config) -> None:
    active = Told(known={NODE: BOTH, "other": ["100.64.0.1"]})
    records.refresh(config, active)
    first = config.file.read_bytes()
    config.file.unlink()

    records.refresh(config, Told(is_active=False, known=PlaceError("no socket"), left=active.left))

    assert active.left == {NODE: BOTH}, "other nodes are nobody's business"
    assert config.file.read_bytes() == first, "both hosts tell clients the same"


def test_the_same_records_are_not_written_again(config: Config) -> None:
    records.refresh(config, Told(known={NODE: BOTH}))
    before = config.file.stat()

    result = records.refresh(config, Told(known={NODE: BOTH}))

    assert not result.changed
    assert config.file.stat().st_ino == before.st_ino
    assert config.file.stat().st_mtime_ns == before.st_mtime_ns


def test_a_name_whose_node_is_not_there_is_left_out_and_told(config: Config) -> None:
    result = records.refresh(config, Told())

    assert written(config) == [GRAFANA]
    assert result.missing == {GITLAB: NODE}


@pytest.mark.parametrize(
    "silent",
    [
        Told(known=PlaceError("Headscale hangs")),
        Told(is_active=False, left=PlaceError("the database is away")),
    ],
    ids=["headscale", "database"],
)
def test_addresses_stay_where_nobody_tells_them(config: Config, silent: Told) -> None:
    records.refresh(config, Told(known={NODE: BOTH}))

    result = records.refresh(config, silent)

    assert result.records[GITLAB] == BOTH
    assert "stay as they were" in result.warnings[0]


def test_the_active_host_needs_no_database_for_its_own_file(config: Config) -> None:
    result = records.refresh(config, Told(known={NODE: BOTH}, left=PlaceError("away")))

    assert result.records[GITLAB] == BOTH
    assert "not told" in result.warnings[0]


def test_without_names_of_nodes_nobody_is_asked(tmp_path: Path) -> None:
    config = Config(tmp_path / "records.json", (GRAFANA,), {})
    away = PlaceError("not to be asked")

    result = records.refresh(config, Told(known=away, left=away))

    assert not result.warnings
    assert written(config) == [GRAFANA]


def test_no_records_are_an_empty_list_which_headscale_takes(tmp_path: Path) -> None:
    config = Config(tmp_path / "records.json", (), {})

    records.refresh(config, Told())

    assert written(config) == []


@pytest.mark.parametrize("text", ['[{"name": "graf', "[1]", "{}", ""])
def test_a_broken_file_is_written_anew(config: Config, text: str) -> None:
    config.file.write_text(text)

    assert records.refresh(config, Told(known={NODE: BOTH})).changed
    assert written(config)[0] == GRAFANA
