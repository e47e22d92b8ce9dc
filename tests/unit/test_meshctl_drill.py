"""Covers `meshctl drill`: what is broken, when nothing is, and what is measured and kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl import drill, handover, stack, watching, writing
from meshctl.control import GUARD
from meshctl.faults import KILL_PRIMARY, KILL_VOTER, STOP_GUARD, WAKE, WAKE_GUARD
from meshctl.trouble import MeshctlError
from meshctl.writing import CREATE_KEY, EXPIRE_KEY, PREFIX, Writes
from tests.ssh_hosts import Fleet, Said
from tests.unit.meshctl_mesh import Operator, guard, voters

KEY = "hskey-api-prefix-with_-very-secret"
KILL_SERVER = "sudo kill -KILL 4711"  # the process that the guard tells of
FREEZE_SERVER = [f"{WAKE}kill -CONT 4711", "sudo kill -STOP 4711"]
FREEZE_GUARD = [WAKE_GUARD, STOP_GUARD]
END_KEY = f"{EXPIRE_KEY}prefix-with_"


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


class Api:
    """Stands for Headscale's API behind both addresses: its users, by id."""

    def __init__(self) -> None:
        self.users = {1: "zhangsan"}
        self.status = 200
        self.forgets = False  # what it has acknowledged
        self.keys: set[str] = set()
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.keys.add(request.headers["Authorization"])
        self.asked += 1
        if self.status != 200:
            return httpx.Response(self.status)
        if request.method == "POST":
            if not self.forgets:
                self.users[100 + self.asked] = json.loads(request.content)["name"]
            return httpx.Response(200, json={})
        if request.method == "DELETE":
            del self.users[int(request.url.path.rsplit("/", 1)[1])]
            return httpx.Response(200, json={})
        users = [{"id": str(number), "name": name} for number, name in self.users.items()]
        return httpx.Response(200, json={"users": users})


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    """What the entry leads to."""
    made = Api()
    real = httpx.AsyncClient

    def client(**options: Any) -> httpx.AsyncClient:
        return real(**options, transport=httpx.MockTransport(made))

    monkeypatch.setattr(httpx, "AsyncClient", client)
    return made


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits; and an entry that answers."""
    monkeypatch.setattr(drill, "Watch", Served)
    for name in ("BEFORE_SECONDS", "CALM_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(drill, name, 0.05)
    monkeypatch.setattr(drill, "WHOLE_SECONDS", 1.0)
    monkeypatch.setattr(handover, "LOOK_SECONDS", 0.01)
    for name in ("EACH_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(writing, name, 0.01)
    monkeypatch.setattr(writing, "SETTLE_SECONDS", 0.5)


@pytest.fixture(autouse=True)
def willing(fleet: Fleet) -> None:
    """The hosts do what a drill asks."""
    answers = fleet["hs-1"].answers
    answers[CREATE_KEY] = Said(f"{KEY}\n")
    for line in (END_KEY, KILL_SERVER, *FREEZE_SERVER, *FREEZE_GUARD):
        answers[line] = Said()
    fleet["pg-1"].answers[KILL_PRIMARY] = fleet["pg-2"].answers[KILL_VOTER] = Said()


@pytest.fixture
def drills(operator: Operator, tmp_path: Path) -> Callable[[str], int]:
    """The exit status of one drill; its report is in `tmp_path`."""
    return lambda fault: operator.runs("drill", fault, "--yes", "--report", str(tmp_path))


def _broken(fleet: Fleet) -> dict[str, list[str]]:
    """What was done to which host, in order."""
    breaking = {KILL_SERVER, *FREEZE_SERVER, *FREEZE_GUARD, KILL_PRIMARY, KILL_VOTER}
    asked = {name: [line for line, _ in host.asked] for name, host in fleet.hosts.items()}
    done = {name: [line for line in lines if line in breaking] for name, lines in asked.items()}
    return {name: lines for name, lines in done.items() if lines}


@pytest.mark.parametrize(
    ("fault", "host", "lines"),
    [
        ("server-killed", "hs-1", [KILL_SERVER]),
        ("server-frozen", "hs-1", FREEZE_SERVER),
        ("guard-frozen", "hs-1", FREEZE_GUARD),
        ("primary-killed", "pg-1", [KILL_PRIMARY]),
        ("voter-killed", "pg-2", [KILL_VOTER]),
    ],
)
def test_the_host_that_has_the_role_is_struck_and_no_other(
    drills: Callable[[str], int], fleet: Fleet, fault: str, host: str, lines: list[str]
) -> None:
    assert drills(fault) == 0

    assert _broken(fleet) == {host: lines}


@pytest.mark.parametrize("fault", ["server-frozen", "guard-frozen"])
def test_nothing_is_frozen_before_its_host_is_to_wake_it_by_itself(
    operator: Operator, drills: Callable[[str], int], fleet: Fleet, fault: str
) -> None:
    for line in (FREEZE_SERVER[0], WAKE_GUARD):
        fleet["hs-1"].answers[line] = Said(status=1, stderr="no timer\n")

    assert drills(fault) == 3

    assert "no timer" in operator.err
    assert not {FREEZE_SERVER[1], STOP_GUARD} & {*_broken(fleet)["hs-1"]}


def test_every_drill_is_a_row_of_the_stacks_report(
    drills: Callable[[str], int], tmp_path: Path
) -> None:
    for _ in range(2):
        drills("server-killed")

    rows = json.loads((tmp_path / "drills-prod.json").read_text())
    assert [(row["fault"], row["lost"], row["kept"]) for row in rows] == [
        ("server-killed", [], True)
    ] * 2
    assert all(row["acknowledged"] > 0 for row in rows)
    assert (tmp_path / "drills-prod.md").read_text().count("Headscale killed") == 2


def test_a_mesh_that_is_not_healthy_is_left_alone(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-2"].answers[GUARD] = guard("hs-2", "standby", database=False)

    assert operator.runs("drill", "server-killed", "--yes") == 3
    assert "nothing was broken" in operator.err
    assert not _broken(fleet)


def test_nothing_is_broken_when_nothing_could_be_measured(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Served, "answers", False)

    assert operator.runs("drill", "server-killed", "--yes") == 3
    assert "does not answer this machine" in operator.err
    assert not _broken(fleet)


def test_nothing_is_broken_when_the_api_takes_no_writes(
    operator: Operator, fleet: Fleet, api: Api
) -> None:
    api.status = 401

    assert operator.runs("drill", "server-killed", "--yes") == 3
    assert "nothing was broken: the API takes no writes" in operator.err
    assert "127.0.0.1: HTTP status 401" in operator.err
    assert not _broken(fleet)


def test_nothing_is_broken_without_a_key_of_the_api(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-1"].answers[CREATE_KEY] = Said("a warning\n")

    assert operator.runs("drill", "server-killed", "--yes") == 3
    assert "nothing was broken: hs-1 makes no key of the API" in operator.err
    assert not _broken(fleet)


def test_nothing_is_broken_without_a_yes(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)

    assert operator.runs("drill", "primary-killed") == 3
    assert not _broken(fleet)


def test_a_drill_that_takes_longer_than_its_budget_is_told_by_the_exit(
    operator: Operator, drills: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "outage", lambda *_: (9.0, 9.0))

    assert drills("server-killed") == 1
    assert "no service for 9 s at most (budget 4 s)" in operator.out


def test_a_mesh_that_does_not_get_well_again_is_told(
    operator: Operator, drills: Callable[[str], int], fleet: Fleet
) -> None:
    def kill(_: str) -> Said:
        fleet["ops-1"].answers["sudo mesh-etcdctl endpoint health -w json"] = voters("pg-2")
        return Said()

    fleet["pg-2"].answers[KILL_VOTER] = kill

    assert drills("voter-killed") == 3
    assert "after voter-killed the mesh is not healthy: etcd voter pg-2" in operator.err


# Acknowledged writes


def test_a_write_that_was_acknowledged_and_is_not_there_is_told_by_the_exit_and_the_report(
    operator: Operator, drills: Callable[[str], int], api: Api, tmp_path: Path
) -> None:
    api.forgets = True

    assert drills("server-killed") == 1

    (row,) = json.loads((tmp_path / "drills-prod.json").read_text())
    assert len(row["lost"]) == row["acknowledged"] > 0 and not row["kept"]
    assert (
        f"{row['acknowledged']} of {row['acknowledged']} acknowledged writes lost" in operator.out
    )
    assert (tmp_path / "drills-prod.md").read_text().rstrip().endswith("| NO |")


def test_a_drill_leaves_the_users_that_there_were_and_none_of_its_own(
    drills: Callable[[str], int], api: Api
) -> None:
    api.users[7] = f"{PREFIX}left-by-an-earlier-one"

    assert drills("server-killed") == 0

    assert api.users == {1: "zhangsan"}


def test_the_key_of_a_drill_is_shown_to_nobody_else_and_ended(
    operator: Operator, drills: Callable[[str], int], fleet: Fleet, api: Api, tmp_path: Path
) -> None:
    drills("server-killed")

    assert api.keys == {f"Bearer {KEY}"}
    written = "".join(file.read_text() for file in tmp_path.glob("drills-*"))
    asked = str([host.asked for host in fleet.hosts.values()])
    assert KEY not in operator.out + operator.err + written + asked
    assert fleet["hs-1"].asked[-1] == (END_KEY, "")


def test_a_key_that_cannot_be_ended_is_told_and_the_drill_counts(
    operator: Operator, drills: Callable[[str], int], fleet: Fleet
) -> None:
    fleet["hs-1"].answers[END_KEY] = Said(status=1, stderr="no such key\n")

    assert drills("server-killed") == 0

    assert "API key prefix-with_ works until the hour is over" in operator.err


def test_an_api_that_never_answers_again_is_not_taken_for_a_loss(fleet: Fleet, api: Api) -> None:
    mesh = stack.load("prod", str(fleet.outputs), Path())

    async def ask() -> None:
        async with Writes(mesh, KEY) as writes:
            writes.acknowledged.add(f"{PREFIX}1")
            api.status = 503
            await writes.missing()

    with pytest.raises(MeshctlError, match="HTTP status 503"):
        asyncio.run(ask())


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
