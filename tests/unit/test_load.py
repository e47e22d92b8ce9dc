"""drills/load: who joins, whom each must see, and what the report makes of the rows.

Against a real server: tests/load.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import load_report
from mesh import access, hujson, registry
from meshctl.load import plan, usage
from meshctl.load.trial import Row
from tests import stacks

COUNTS = st.integers(min_value=2, max_value=2000)
ABOUT = {
    "server": "plain",
    "version": "v1.2.3",
    "nodes": 2,
    "wave": 100,
    "cores": "0-1",
    "at": "2026-01-02T03:04:05+00:00",
}


def servers(**tags: str) -> dict[str, access.Node]:
    """Nodes by name, with their tags."""
    return {name: access.Node(tags=frozenset(text.split())) for name, text in tags.items()}


# Who joins


@given(COUNTS)
def test_there_are_as_many_nodes_as_asked_for_and_each_has_its_own_name(count: int) -> None:
    made = plan.members(count)
    assert len(made) == len({member.name for member in made}) == count


@given(st.integers(min_value=100, max_value=2000))
def test_every_kind_has_its_share_but_for_rounding(count: int) -> None:
    counts = Counter(member.kind.name for member in plan.members(count))
    largest = max(plan.KINDS, key=lambda kind: kind.share)
    for kind in plan.KINDS:
        room = 2 if kind == largest else 1  # it makes room for those that must be there
        assert abs(counts[kind.name] - kind.share * count / 1000) <= room


@given(COUNTS)
def test_monitoring_comes_first_and_an_administrator_is_always_there(count: int) -> None:
    kinds = [member.kind.name for member in plan.members(count)]
    assert kinds[:2] == ["monitoring", "zhangsan"]


def test_each_wave_is_a_sample_of_the_whole() -> None:
    half = Counter(member.kind.name for member in plan.members(1000)[:500])
    for kind in plan.KINDS:
        assert abs(half[kind.name] - kind.share / 2) <= 2


def test_the_shares_are_of_a_thousand() -> None:
    assert sum(kind.share for kind in plan.KINDS) == 1000


def test_every_kind_is_of_a_user_or_of_tags_that_the_repository_declares() -> None:
    declared = registry.load(stacks.REPOSITORY / "policy")
    users = {user.name for user in declared.users}
    tags = set(
        hujson.parse((stacks.REPOSITORY / "policy/policy.hujson").read_text()).value["tagOwners"]
    )
    for kind in plan.KINDS:
        assert bool(kind.user) != bool(kind.tags)
        assert {kind.user} <= users | {""} and set(kind.tags) <= tags


# Whom each must see


def test_two_nodes_see_each_other_when_a_rule_leads_from_either_to_the_other() -> None:
    policy = access.Policy(
        {"acls": [{"action": "accept", "src": ["tag:web"], "dst": ["tag:api:80"]}]}
    )
    expected = plan.expected(policy, servers(w1="tag:web", w2="tag:web", a1="tag:api", d1="tag:db"))
    assert {name: expected.peers(name) for name in ("w1", "w2", "a1", "d1")} == {
        "w1": 1,
        "w2": 1,
        "a1": 2,
        "d1": 0,
    }
    assert expected.total == 4


def test_a_node_is_no_peer_of_its_own() -> None:
    policy = access.Policy({"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]})
    expected = plan.expected(policy, servers(a="tag:web", b="tag:web", c="tag:web"))
    assert [expected.peers(name) for name in "abc"] == [2, 2, 2]


def test_a_node_at_an_address_that_a_rule_names_is_seen_by_all() -> None:
    rule = {"action": "accept", "src": ["*"], "dst": ["resolver:53"]}
    policy = access.Policy({"hosts": {"resolver": "100.64.0.1"}, "acls": [rule]})
    rows = [
        {"given_name": f"n{i}", "tags": ["tag:web"], "ip_addresses": [f"100.64.0.{i}", "fd7a::1"]}
        for i in (1, 2, 3)
    ]
    expected = plan.expected(policy, plan.listed(rows))
    assert [expected.peers(f"n{i}") for i in (1, 2, 3)] == [2, 1, 1]


def test_the_model_agrees_with_itself_node_by_node() -> None:
    text = (stacks.REPOSITORY / "policy/policy.hujson").read_text()
    policy = access.Policy(hujson.parse(text).value)
    nodes = plan.planned(plan.members(60))
    expected = plan.expected(policy, nodes)
    for name, node in nodes.items():
        others = [other for key, other in nodes.items() if key != name]
        known = sum(access.acquainted(policy, node, other) for other in others)
        assert expected.peers(name) == known


def test_a_listed_node_with_tags_belongs_to_nobody() -> None:
    row = {"given_name": "w", "user": {"name": "tagged-devices"}, "tags": ["tag:web"]}
    (node,) = plan.listed([{**row, "ip_addresses": ["100.64.0.9"]}]).values()
    assert (node.owner, node.tags) == (None, frozenset({"tag:web"}))


# What servers take


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses the processor."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def test_what_a_process_took_still_counts_when_another_one_has_its_place(
    busy: subprocess.Popen[bytes],
) -> None:
    pids = [busy.pid]
    meter = usage.Meter(lambda: pids)
    while (taken := meter.read().cpu_s) < 0.05:
        assert busy.poll() is None
    busy.kill()
    busy.wait()
    pids.clear()
    assert meter.read() == usage.Usage(taken, 0, 0)
    assert meter.read().cpu_s == taken


# The report


def wave(**figures: float) -> Row:
    usual = {
        "nodes": 2,
        "peers": 2,
        "registered_s": 1,
        "settled_s": 2,
        "server_cpu_s": 3,
        "tool_cpu_s": 1,
        "drops": 0,
        "rss_mib": 50,
    }
    return Row("wave 1", {**usual, **figures})


def report(folder: Path, *runs: tuple[dict[str, Any], list[Row]]) -> str:
    for about, rows in runs:
        load_report.write(folder, about, rows)
    return (folder / "load.md").read_text()


def test_waves_are_added_up(tmp_path: Path) -> None:
    said = report(tmp_path, (ABOUT, [wave(), wave(nodes=4, settled_s=5)]))
    assert "| plain, v1.2.3 | 4 | 0 | 2.0 s | 7.0 s | 6 s | 2 s |" in said


def test_the_plots_show_each_wave_of_the_largest_join_of_a_pair(tmp_path: Path) -> None:
    pair, larger = {**ABOUT, "server": "pair"}, {**ABOUT, "server": "pair", "nodes": 300}
    waves = [wave(nodes=1), wave(nodes=101, settled_s=7), wave(nodes=201, settled_s=-1)]
    said = report(tmp_path, (pair, [wave(), wave(nodes=9)]), (larger, waves))

    assert said.count('x-axis "nodes" [101, 201]') == 2
    assert "bar [3.0, 3.0]" in said
    assert "bar [7.0, 0.0]" in said, "a wave that never settled has no bar"


def test_a_wave_that_never_settled_shows_as_never(tmp_path: Path) -> None:
    said = report(tmp_path, (ABOUT, [wave(), wave(settled_s=-1)]))
    assert "| 2.0 s | never |" in said


def test_a_later_run_of_the_same_kind_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    report(tmp_path, (ABOUT, [wave()]), ({**ABOUT, "at": "2027"}, [wave(server_cpu_s=9)]))
    (run,) = json.loads((tmp_path / "load.json").read_text())
    assert (run["about"]["at"], run["rows"][0]["figures"]["server_cpu_s"]) == ("2027", 9)


def test_the_pair_is_compared_with_a_plain_server_of_the_same_release_and_size(
    tmp_path: Path,
) -> None:
    pair = {**ABOUT, "server": "pair"}
    other = {**ABOUT, "nodes": 3}
    said = report(
        tmp_path,
        (ABOUT, [wave(server_cpu_s=10)]),
        (pair, [wave(server_cpu_s=11)]),
        (other, [wave(server_cpu_s=99)]),
    )
    assert said.endswith("| v1.2.3 | 2 | 11.0 s | 10.0 s | 1.10 |\n")


def test_kills_show_their_median_and_their_worst(tmp_path: Path) -> None:
    def kill(last: float, wrong: int) -> Row:
        figures = {"first_s": 1, "streaming_s": last, "settled_s": last, "wrong_nodes": wrong}
        return Row("kill", figures, {"streaming": (1.0, last)})

    said = report(tmp_path, (ABOUT, [wave(), kill(2, 0), kill(3, 0), kill(9, 1)]))
    assert "| 3 | 1.0 (≤ 1.0) s | 1.0 / 3.0 s | 3.0 (≤ 9.0) s | 3.0 (≤ 9.0) s | 1 |" in said


def test_a_soak_shows_how_memory_and_open_files_went(tmp_path: Path) -> None:
    def churn(minute: int) -> Row:
        figures = {"elapsed_s": minute * 60, "rss_mib": 100 + minute, "descriptors": 20}
        return Row("churn", {**wave().figures, **figures})

    said = report(tmp_path, (ABOUT, [wave(), *map(churn, range(21))]))
    assert "| 2 | 20 min | 21 | 2.0 (≤ 2.0) s | 0 | 100 → 120 (≤ 120) MiB |" in said
    assert "| 20 → 20 (≤ 20) |" in said


def test_a_kill_that_some_node_did_not_survive_shows_as_never(tmp_path: Path) -> None:
    figures = {"first_s": 1, "streaming_s": -1, "settled_s": -1, "wrong_nodes": 1}
    said = report(tmp_path, (ABOUT, [wave(), Row("kill", figures, {"streaming": (1.0,)})]))
    assert "| never (1 of 1) | never (1 of 1) | 1 |" in said
