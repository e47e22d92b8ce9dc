"""The drills' arithmetic, gates and reports; the drills themselves run on the booted lab."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drills import gate, record, report, servers, sessions, streams
from drills.__main__ import possible_faults, summary
from drills.faults import FAULTS
from drills.intervals import Outage, common, held, outage, percentile, total
from drills.record import Record
from drills.sessions import Look
from drills.streams import Count
from drills.stutter import Stutter
from drills.writer import Write
from lab.world import cgroup
from lab.world.command import until

NOW = 1000.0


def a_record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "fault": "server-killed",
        "at": "2026-11-23T12:00:00+00:00",
        "design": "guard",
        "clients_back_s": 2.0,
        "clients_on_dead_entry": 0,
        "dead_entry_back_s": None,
        "registration_back_s": 3.5,
        "writes_back_s": 1.5,
        "writes_gap_s": 1.6,
        "lost_acknowledged": 0,
        "double_writer_s": 0.0,
        "lost_pings": 0,
        "whole_again_s": 1.0,
        "acknowledged": 50,
    }
    return Record(**{**values, **changes})


# Intervals


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 21)]

    assert [percentile(values, share) for share in (0.5, 0.95, 1.0)] == [10, 19, 20]
    assert percentile([7.0], 0.95) == 7.0


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_sample_stands_for_the_time_until_the_next_but_not_for_a_blind_spell() -> None:
    samples = [(0.0, True), (0.1, True), (0.2, False), (5.0, True), (9.0, False)]

    assert held(samples, longest=0.5) == [(0.0, 0.2), (5.0, 5.5)]


def test_two_writers_are_the_time_that_both_have_in_common() -> None:
    one, other = [(0.0, 2.0), (5.0, 6.0)], [(1.5, 5.2)]

    assert common(one, other) == [(1.5, 2.0), (5.0, 5.2)]
    assert total(common(one, other)) == pytest.approx(0.7)


def test_no_gap_is_no_outage() -> None:
    times = [0.0, 0.5, 1.0, 1.5, 2.0]

    assert outage(times, fault=1.0, until=2.0, now=2.2, least=1.0) == Outage(0.0, 0.0)


def test_writes_are_back_after_the_last_gap_that_the_fault_made() -> None:
    times = [9.8, 10.2, 12.5, 12.7, 15.0, 15.2]

    found = outage(times, fault=10.0, until=15.1, now=15.3, least=1.0)

    assert found.back == pytest.approx(5.0), "the first recovery did not last"
    assert found.longest == pytest.approx(2.3)


def test_a_gap_that_lasts_has_no_end() -> None:
    found = outage([9.9, 10.1], fault=10.0, until=30.0, now=30.0, least=1.0)

    assert found.back is None
    assert found.longest == pytest.approx(19.9)


def test_gaps_before_the_fault_and_after_the_heal_are_not_its() -> None:
    times = [1.0, 9.5, 10.0, 10.5, 11.0, 20.0]

    assert outage(times, fault=10.0, until=10.9, now=20.1, least=1.0) == Outage(0.0, 0.0)


# What probes read


def test_psqls_line_becomes_a_sample_of_who_could_write() -> None:
    line = json.dumps(
        {
            "recovery": False,
            "sync": 1,
            "streaming": 1,
            "writers": ["10.0.0.1"],
            "holder": "hs-1",
            "token": 7,
        }
    )

    found = sessions.parse(NOW, line, {"10.0.0.1": "hs-1"})

    assert found == Look(NOW, True, 1, 1, frozenset({"hs-1"}), "hs-1", 7)
    with pytest.raises(ValueError, match="line 1"):
        sessions.parse(NOW, line[:20], {})


def test_the_entry_of_a_client_is_read_from_its_established_connections() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 0A01A8C0:B546 020212C6:01BB 01 00000000:00000000\n"
        "   1: 0A01A8C0:B547 040212C6:01BB 06 00000000:00000000\n"
        "   2: 0A01A8C0:B548 010112C6:01BB 01 00000000:00000000\n"
    )

    names = {"198.18.2.2": "hs-1", "198.18.2.4": "hs-2"}

    assert streams.connected(table, names) == ["hs-1"]


def test_a_stream_that_went_on_was_not_away() -> None:
    counts = [Count(9, 1, 5), Count(11, 1, 5), Count(12, 1, 6)]

    assert streams.stream_back(counts, fault=10, alive_from=10.5) == 0.0


def test_a_stream_that_says_nothing_is_not_known_to_live() -> None:
    counts = [Count(9, 1, 5), Count(11, 1, 6), Count(13, 1, 6)]

    assert streams.stream_back(counts, fault=10, alive_from=12) is None


def test_a_client_is_back_when_its_last_new_stream_delivers() -> None:
    counts = [Count(9, 1, 5), Count(11, 2, 5), Count(12, 3, 5), Count(13, 3, 5), Count(14, 3, 6)]

    assert streams.stream_back(counts, fault=10, alive_from=10) == 4


def test_lost_pings_are_the_numbers_between_that_did_not_come() -> None:
    assert streams.missing([3, 4, 7, 6, 9, 9]) == 2
    assert streams.missing([]) == 0


# Gates


def test_a_database_is_whole_with_a_standby_in_sync() -> None:
    whole = {"pg-1": Look(NOW, True, sync=1), "pg-2": Look(NOW, False)}

    assert gate.database_lacks(whole, NOW) == []


def test_the_baselines_standby_need_not_be_in_sync() -> None:
    looks = {"pg-1": Look(NOW, True, sync=0, streaming=1), "pg-2": Look(NOW, False)}

    assert gate.database_lacks(looks, NOW, in_sync=False) == []


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ({"pg-1": Look(NOW, True, sync=0), "pg-2": Look(NOW, False)}, "no standby streams"),
        ({"pg-1": Look(NOW, True, sync=1), "pg-2": Look(NOW, None)}, "pg-2: does not answer"),
        ({"pg-1": Look(NOW, True, sync=1), "pg-2": Look(NOW - 9, False)}, "pg-2: does not"),
        ({"pg-1": Look(NOW, True, sync=1), "pg-2": Look(NOW, True)}, "primaries: pg-1, pg-2"),
        ({"pg-1": Look(NOW, False), "pg-2": Look(NOW, False)}, "primaries: none"),
    ],
)
def test_a_gate_says_what_a_database_lacks(looks: dict[str, Look], said: str) -> None:
    (found,) = gate.database_lacks(looks, NOW)

    assert said in found


def guard_says(role: str, **changes: Any) -> dict[str, Any]:
    return {"role": role, "at": NOW, "database": True, "server_answers": role == "active"} | changes


def test_guards_are_whole_with_one_active_and_one_standby() -> None:
    guards = {"hs-1": guard_says("standby"), "hs-2": guard_says("active")}

    assert gate.guards_lack(guards, NOW) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (guard_says("standby", database=False), "does not reach the database"),
        (guard_says("standby", at=NOW - 10), "does not report"),
        ({}, "does not report"),
        (guard_says("active"), "guards are active, active"),
    ],
)
def test_a_gate_says_what_a_guard_lacks(other: dict[str, Any], said: str) -> None:
    found = gate.guards_lack({"hs-1": guard_says("active"), "hs-2": other}, NOW)

    assert any(said in line for line in found), found


def arbiter_says(**changes: Any) -> dict[str, Any]:
    well = {"at": NOW, "state": "watching", "reason": "", "resting": False, "quorum": True}
    return {**well, **changes}


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        (arbiter_says(), []),
        ({}, ["arbiter: does not report"]),
        (arbiter_says(at=NOW - 10), ["arbiter: does not report"]),
        (arbiter_says(resting=True), ["arbiter: rests"]),
        (arbiter_says(state="doubting", reason="pg-1 is silent"), ["arbiter: pg-1 is silent"]),
        (arbiter_says(quorum=False), ["arbiter: has no quorum"]),
    ],
)
def test_a_gate_says_what_an_arbiter_lacks(said: dict[str, Any], lacks: list[str]) -> None:
    assert gate.arbiter_lacks(said, NOW) == lacks


def test_a_fault_of_the_arbiter_is_only_drilled_where_there_is_one() -> None:
    without = possible_faults(guarded=True, arbitrated=False)
    with_one = possible_faults(guarded=True, arbitrated=True)

    assert [name for name in with_one if name not in without] == ["arbiter-frozen"]
    assert "arbiter-frozen" not in possible_faults(guarded=False, arbitrated=True)
    assert "guard-frozen" not in possible_faults(guarded=False, arbitrated=False)


def test_the_arbiter_may_act_only_when_the_primarys_host_is_gone() -> None:
    assert [name for name, fault in FAULTS.items() if fault.arbitrated] == [
        "primary-power",
        "primary-cut",
        "zone-power",
    ]


def test_writes_must_be_acknowledged_several_in_a_row() -> None:
    good = [Write(f"w{n}", NOW, NOW, "200") for n in range(gate.IN_A_ROW)]

    assert gate.writers_lack(good) == []
    assert gate.writers_lack(good[1:])
    assert gate.writers_lack([*good, Write("w", NOW, NOW, "503")])


# Records and reports


def test_each_record_is_kept_at_once(tmp_path: Path) -> None:
    record.append(tmp_path, a_record())
    record.append(tmp_path, a_record(fault="switchover"))

    kept = json.loads((tmp_path / record.FILE).read_text())

    assert [row["fault"] for row in kept] == ["server-killed", "switchover"]
    assert [path.name for path in tmp_path.iterdir()] == [record.FILE]


def test_what_never_came_back_is_worse_than_anything_measured() -> None:
    assert report.spread([1.0, None]) == "1.0 / never / never"
    assert report.spread([]) == "–"


def test_a_goal_is_missed_by_a_late_drill_a_lost_one_and_a_failed_one() -> None:
    rows = [
        vars(a_record()),
        vars(a_record(clients_back_s=4.5)),
        vars(a_record(clients_back_s=None)),
        vars(record.failed("server-killed", "guard", "no gate")),
    ]

    assert report.misses(rows, "clients_back_s", 4) == 3


def test_clients_on_a_silent_entry_are_shown_and_not_mixed_with_the_others(tmp_path: Path) -> None:
    clients: dict[str, Any] = {"a": {}, "b": {}}
    row = a_record(
        fault="control-power",
        clients_back_s=None,
        clients_on_dead_entry=2,
        dead_entry_back_s=121.5,
        details={"clients": clients},
    )

    report.write(tmp_path, [vars(row)])
    text = (tmp_path / report.FILE).read_text()

    assert report.misses([vars(row)], "clients_back_s", 10) == 0
    assert "| 2 | 121.5 / 121.5 / 121.5 |" in text


def test_the_report_has_a_row_for_each_fault_that_was_drilled(tmp_path: Path) -> None:
    rows = [vars(a_record(fault=name)) for name in FAULTS]

    report.write(tmp_path, rows)
    text = (tmp_path / report.FILE).read_text()

    assert all(text.count(f"| {fault.title} |") == 2 for fault in FAULTS.values())


@pytest.mark.parametrize(
    "fault",
    [
        {"lost_acknowledged": 1},
        {"double_writer_s": 0.1},
        {"details": {"outsider_sessions_s": 0.2}},
        {"failed": "no gate"},
    ],
)
def test_a_drill_is_bad_when_it_failed_or_lost_a_write_or_let_in_who_must_not_write(
    fault: dict[str, Any],
) -> None:
    assert a_record(**fault).bad
    assert not a_record(details={"outsider_sessions_s": 0.0}).bad


def test_a_session_without_the_fence_is_said_at_once_and_in_the_report(tmp_path: Path) -> None:
    done = a_record(details={"clients": {}, "outsider_sessions_s": 0.4})

    report.write(tmp_path, [vars(done), vars(done)])
    text = (tmp_path / report.FILE).read_text()

    assert "without the fence 0.4 s" in summary(done)
    assert f"| {FAULTS[done.fault].title} | 100 | 0 | 0.0 | 0.8 |" in text


def test_the_report_shows_design_and_baseline_side_by_side(tmp_path: Path) -> None:
    rows = [
        a_record(clients_back_s=2.0, writes_back_s=1.0),
        a_record(clients_back_s=3.0, writes_back_s=1.5),
        a_record(design="baseline", clients_back_s=None, writes_back_s=61.0),
        a_record(fault="guard-stopped"),
    ]

    report.write(tmp_path, [vars(row) for row in rows])
    bought = (tmp_path / report.FILE).read_text().partition("## Design")[0]

    title = FAULTS["server-killed"].title
    times = "2.0 / 3.0 | never / never | 3.5 / 3.5 | 3.5 / 3.5 | 1.0 / 1.5 | 61.0 / 61.0"
    assert f"| {title} | 2 | 1 | {times} |" in bought
    assert FAULTS["guard-stopped"].title not in bought, "the baseline has no such drill"


def test_without_a_baseline_nothing_is_compared(tmp_path: Path) -> None:
    report.write(tmp_path, [vars(a_record())])

    assert "What the design buys" not in (tmp_path / report.FILE).read_text()


def test_every_goal_is_about_a_field_that_records_have() -> None:
    goals = [(field, goal) for fault in FAULTS.values() for field, goal in fault.goals.items()]

    assert all(hasattr(a_record(), field) and math.isfinite(goal) for field, goal in goals)


def test_a_host_that_stutters_stands_still_in_turns_and_runs_on_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        monkeypatch.setattr(cgroup, "pids", lambda _: [child.pid])

        slow = Stutter("some/group")
        until(lambda: servers.state(child.pid) == "T", within=10, what="a stop")
        until(lambda: servers.state(child.pid) == "S", within=10, what="its turn")
        slow.end()

        assert servers.state(child.pid) != "T"
        child.kill()
