"""Covers the map that Headscale reads: what is in it, and when it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from guard.etcd import EtcdError
from relays.decision import Out
from relays.map import Config, EmptyMapError, Follower, text
from relays.store import Store, StoreError

FULL: dict[str, Any] = {
    "regions": {
        number: {"regionid": int(number), "regioncode": code, "regionname": "北京: 1", "nodes": []}
        for number, code in (("900", "bj"), ("901", "sh"))
    }
}


class FakeStore(Store):
    """A decision that a test sets; an exception is what asking for it raises."""

    def __init__(self, *out: str) -> None:
        self.out: tuple[str, ...] = out
        self.trouble: Exception | None = None

    def decision(self) -> dict[str, Out]:
        if self.trouble:
            raise self.trouble
        return {relay: Out(since="", why="") for relay in self.out}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "derp.yaml"


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def follower(store: FakeStore, place: Path) -> Follower:
    full = place.with_name("full.json")
    full.write_text(json.dumps(FULL))
    config = Config(
        full=str(full),
        map=str(place),
        endpoints=[],
        prefix="",
        ca="",
        certificate="",
        key="",
    )
    return Follower(config, store)


def regions(place: Path) -> set[int]:
    return set(yaml.safe_load(place.read_text())["regions"])


def test_the_map_is_yaml_with_numbers_for_regions() -> None:
    assert yaml.safe_load(text(FULL, ["sh"])) == {"regions": {900: FULL["regions"]["900"]}}


def test_an_empty_map_is_refused() -> None:
    with pytest.raises(EmptyMapError, match="without bj, sh no relay"):
        text(FULL, ["sh", "bj"])


def test_relays_leave_and_come_back(follower: Follower, store: FakeStore, place: Path) -> None:
    seen = []
    for out in ((), ("sh",), ()):
        store.out = out
        follower.look()
        seen.append(regions(place))

    assert seen == [{900, 901}, {900}, {900, 901}]


def test_the_same_map_is_not_written_again(follower: Follower, place: Path) -> None:
    follower.look()
    written = place.stat().st_ino

    follower.look()

    assert place.stat().st_ino == written


@pytest.mark.parametrize("trouble", [EtcdError("away"), StoreError("nonsense")])
def test_without_a_decision_the_map_stays_as_it_is(
    follower: Follower, store: FakeStore, place: Path, trouble: Exception
) -> None:
    store.out = ("sh",)
    follower.look()

    store.trouble = trouble
    follower.look()

    assert regions(place) == {900}


def test_the_first_map_is_the_full_one_when_nobody_can_be_asked(
    follower: Follower, store: FakeStore, place: Path
) -> None:
    store.trouble = EtcdError("away")
    follower.look()

    assert regions(place) == {900, 901}


def test_a_decision_that_leaves_nothing_changes_nothing(
    follower: Follower, store: FakeStore, place: Path
) -> None:
    store.out = ("bj",)
    follower.look()

    store.out = ("bj", "sh")
    follower.look()

    assert regions(place) == {901}
