"""Covers `meshctl drill`: what is broken, when nothing is, and what is measured and kept."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl import drill, handover, watching
from meshctl.control import GUARD
from meshctl.drill import KILL_PRIMARY, KILL_SERVER
from tests.ssh_hosts import Fleet, Said
from tests.unit.meshctl_mesh import Operator, guard, make_well


class Served:
    """Stands for the public entry, which has no certificate here: it answers when it is to."""

    answers = True

    def __init__(self, *_: object) -> None:
        self.began = time.monotonic()

    async def __aenter__(self) -> Served:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    @property
    def served(self) -> list[float]:
        count = int((time.monotonic() - self.began) * 100) if self.answers else 0
        return [self.began + i / 100 for i in range(count)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits; and an entry that answers."""
    monkeypatch.setattr(drill, "Watch", Served)
    for name in ("BEFORE_SECONDS", "CALM_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(drill, name, 0.05)
    monkeypatch.setattr(drill, "WHOLE_SECONDS", 1.0)
    monkeypatch.setattr(handover, "LOOK_SECONDS", 0.01)


def _broken(fleet: Fleet) -> list[str]:
    killing = (KILL_SERVER, KILL_PRIMARY)
    return [line for host in fleet.hosts.values() for line, _ in host.asked if line in killing]


@pytest.mark.parametrize(
    ("fault", "host", "line"),
    [("server-killed", "hs-1", KILL_SERVER), ("primary-killed", "pg-1", KILL_PRIMARY)],
)
def test_the_host_that_has_the_role_is_struck(
    operator: Operator, fleet: Fleet, tmp_path: Path, fault: str, host: str, line: str
) -> None:
    make_well(fleet)
    fleet[host].answers[line] = Said()

    assert operator.runs("drill", fault, "--yes", "--report", str(tmp_path)) == 0

    assert [asked for asked, _ in fleet[host].asked if asked == line] == [line]


def test_every_drill_is_a_row_of_the_stacks_report(
    operator: Operator, fleet: Fleet, tmp_path: Path
) -> None:
    make_well(fleet)
    fleet["hs-1"].answers[KILL_SERVER] = Said()

    for _ in range(2):
        operator.runs("drill", "server-killed", "--yes", "--report", str(tmp_path))

    rows = json.loads((tmp_path / "drills-prod.json").read_text())
    assert [row["fault"] for row in rows] == ["server-killed"] * 2
    assert (tmp_path / "drills-prod.md").read_text().count("Headscale killed") == 2


def test_a_mesh_that_is_not_healthy_is_left_alone(operator: Operator, fleet: Fleet) -> None:
    make_well(fleet)
    fleet["hs-2"].answers[GUARD] = guard("hs-2", "standby", database=False)

    assert operator.runs("drill", "server-killed", "--yes") == 3
    assert "nothing was broken" in operator.err
    assert not _broken(fleet)


def test_nothing_is_broken_when_nothing_could_be_measured(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_well(fleet)
    monkeypatch.setattr(Served, "answers", False)

    assert operator.runs("drill", "server-killed", "--yes") == 3
    assert "does not answer this machine" in operator.err
    assert not _broken(fleet)


def test_nothing_is_broken_without_a_yes(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_well(fleet)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)

    assert operator.runs("drill", "primary-killed") == 3
    assert not _broken(fleet)


def test_a_drill_that_takes_longer_than_its_budget_is_told_by_the_exit(
    operator: Operator, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_well(fleet)
    fleet["hs-1"].answers[KILL_SERVER] = Said()
    monkeypatch.setattr(watching, "outage", lambda *_: (9.0, 9.0))

    assert operator.runs("drill", "server-killed", "--yes", "--report", str(tmp_path)) == 1
    assert "no service for 9 s at most (budget 4 s)" in operator.out


# What is measured


def test_the_longest_gap_after_the_fault_counts_and_when_it_was_over() -> None:
    assert watching.outage([0.0, 0.2, 3.2, 3.4, 4.0], 0.3, 4.1) == (2.9, 2.9)


def test_service_that_never_came_back_lasts_until_the_end() -> None:
    assert watching.outage([0.0, 0.2], 0.3, 60.3) == (60.0, 60.0)


@given(st.lists(st.floats(0, 100)), st.floats(0, 50), st.floats(50, 100))
def test_no_gap_is_longer_than_the_time_that_was_watched(
    served: list[float], fault: float, until: float
) -> None:
    back, gap = watching.outage(sorted(t for t in served if t <= until), fault, until)

    assert 0 <= gap <= back + 0.01
    assert back <= until - fault + 0.01
