"""Covers planned hand-overs and the relays: what is asked of the hosts, in which order."""

from __future__ import annotations

import io
import time

import pytest

from meshctl import handover
from meshctl.control import GUARD
from meshctl.facts import MEMBERS, RELAYS
from meshctl.handover import CALM, SAFETY, START, STOP
from tests.ssh_hosts import Fleet, Said
from tests.unit.meshctl_mesh import Operator, guard, members, relays

SWITCH = "sudo patronictl switchover --leader pg-1 --candidate pg-2 --force"
SET = "sudo mesh-relays set sh out"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens here happens at once."""
    monkeypatch.setattr(handover, "TAKES_SECONDS", 0.5)
    monkeypatch.setattr(handover, "LOOK_SECONDS", 0.01)


def _guards_hand_over(fleet: Fleet, *, taken: bool = True) -> None:
    """The hosts do what guards do when one is stopped."""

    def stop(_: str) -> Said:
        if taken:
            fleet["hs-2"].answers[GUARD] = guard("hs-2", "active")
        fleet["hs-1"].answers[GUARD] = Said(status=1, stderr="no such file")
        return Said()

    def start(_: str) -> Said:
        fleet["hs-1"].answers[GUARD] = guard("hs-1", "standby")
        return Said()

    fleet["hs-1"].answers |= {SAFETY: Said(), STOP: stop, START: start, CALM: Said()}


def _done(fleet: Fleet, host: str) -> list[str]:
    """What changed something."""
    reading = (GUARD, MEMBERS)
    return [command for command, _ in fleet[host].asked if command not in reading]


def test_headscale_is_handed_over_and_the_old_host_stands_by(
    operator: Operator, fleet: Fleet
) -> None:
    _guards_hand_over(fleet)

    assert operator.runs("failover", "--yes") == 0
    assert operator.out.startswith("hs-2 has taken over from hs-1 within ")
    assert _done(fleet, "hs-1") == [SAFETY, STOP, START, CALM]


def test_a_guard_is_started_again_when_nobody_takes_over(operator: Operator, fleet: Fleet) -> None:
    _guards_hand_over(fleet, taken=False)

    assert operator.runs("failover", "--yes") == 3
    assert "hs-2 did not take over" in operator.err
    assert START in _done(fleet, "hs-1")


def test_without_a_standby_that_is_ready_nothing_is_stopped(
    operator: Operator, fleet: Fleet
) -> None:
    fleet["hs-2"].answers[GUARD] = guard("hs-2", "standby", database=False)

    assert operator.runs("failover", "--yes") == 3
    assert "nothing was done" in operator.err
    assert _done(fleet, "hs-1") == []


def test_a_hand_over_that_is_declined_stops_nothing(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text))

    assert operator.runs("failover") == 3
    assert asked == ["Hand Headscale over from hs-1 to hs-2? Joins wait for some seconds."]
    assert _done(fleet, "hs-1") == []


def test_the_standby_in_step_becomes_the_primary(operator: Operator, fleet: Fleet) -> None:
    def switch(_: str) -> Said:
        for name in ("pg-1", "pg-2"):
            fleet[name].answers[MEMBERS] = members(primary="pg-2", standby="pg-1")
        return Said("switched over")

    fleet["pg-2"].answers[SWITCH] = switch

    assert operator.runs("switchover", "--yes") == 0
    assert operator.out.startswith("pg-2 has taken over from pg-1 within ")


def test_a_standby_that_is_not_in_step_is_not_promoted(operator: Operator, fleet: Fleet) -> None:
    rows = members().stdout.replace("Sync Standby", "Replica")
    fleet["pg-1"].answers[MEMBERS] = fleet["pg-2"].answers[MEMBERS] = Said(rows)

    assert operator.runs("switchover", "--yes") == 3
    assert "Sync Standby" in operator.err
    assert _done(fleet, "pg-1") == _done(fleet, "pg-2") == []


def test_relays_are_shown_with_what_the_probes_say(operator: Operator) -> None:
    assert operator.runs("derp", "show") == 0
    assert operator.out.splitlines()[1].split()[:5] == ["bj", "BJ", "in", "-", "auto"]
    assert "at most 1 out by themselves" in operator.out


def test_a_watcher_that_tells_nothing_any_more_is_named(operator: Operator, fleet: Fleet) -> None:
    _, _, told = relays().stdout.partition("\n")
    fleet["ops-1"].answers[RELAYS] = Said(f"{time.time() + 300:.0f}\n{told}")

    assert operator.runs("derp", "show") == 0
    assert "OLD: mesh-relay-watch tells nothing any more" in operator.out


def test_a_wish_for_a_relay_goes_to_the_operations_host(operator: Operator, fleet: Fleet) -> None:
    fleet["ops-1"].answers[SET] = Said("sh: out. Soon.\n")

    assert operator.runs("derp", "set", "sh", "out") == 0
    assert operator.out == "sh: out. Soon.\n"


def test_an_unknown_relay_is_refused_with_those_there_are(operator: Operator, fleet: Fleet) -> None:
    assert operator.runs("derp", "set", "mars", "out") == 3
    assert "choose from bj, sh" in operator.err
    assert not any("set" in command for command, _ in fleet["ops-1"].asked)


def test_a_wish_that_there_is_not_is_wrong_usage(operator: Operator) -> None:
    assert operator.runs("derp", "set", "sh", "maybe") == 64


def test_a_limit_is_passed_on(operator: Operator, fleet: Fleet) -> None:
    fleet["ops-1"].answers["sudo mesh-relays limit 0"] = Said("at most 0 out by themselves.\n")

    assert operator.runs("derp", "limit", "0") == 0


def test_with_the_outputs_on_standard_input_nobody_can_be_asked(
    operator: Operator,
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _guards_hand_over(fleet)
    monkeypatch.setattr("sys.stdin", io.StringIO(fleet.outputs.read_text()))

    assert operator.runs("--outputs", "-", "failover") == 3
    assert "give --yes" in operator.err
    assert _done(fleet, "hs-1") == []


def test_with_the_outputs_on_standard_input_they_are_read_once(
    operator: Operator,
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _guards_hand_over(fleet)
    monkeypatch.setattr("sys.stdin", io.StringIO(fleet.outputs.read_text()))

    assert operator.runs("--outputs", "-", "failover", "--yes") == 0


def test_a_guard_that_cannot_be_started_again_is_said_to_start_by_itself(
    operator: Operator, fleet: Fleet
) -> None:
    _guards_hand_over(fleet)
    fleet["hs-1"].answers[START] = Said(status=1, stderr="Job failed")

    assert operator.runs("failover", "--yes") == 3
    assert "hs-1: Job failed" in operator.err and "within two minutes" in operator.err
    assert CALM not in _done(fleet, "hs-1")


def test_a_host_that_would_not_start_its_guard_by_itself_is_not_stopped(
    operator: Operator, fleet: Fleet
) -> None:
    _guards_hand_over(fleet)
    fleet["hs-1"].answers[SAFETY] = Said(status=1, stderr="Unit mesh-handover.timer exists")

    assert operator.runs("failover", "--yes") == 3
    assert STOP not in _done(fleet, "hs-1")
