"""mesh-load and its driver against a real Headscale, on loopback, with the repository's policy."""

from __future__ import annotations

import time

from drills.load.plain import Plain
from meshctl.load import plan, server, soak
from meshctl.load.trial import Trial
from tests.load.ten import KINDS, WITHIN, Joined


def test_every_node_gets_exactly_the_peers_that_the_policy_gives_it(joined: Joined) -> None:
    assert not [fault for row in joined.waves for fault in row.faults]
    assert [row.figures["nodes"] for row in joined.waves] == [1, 6, 10]
    assert [row.figures["lacking"] for row in joined.waves] == [0, 0, 0]
    assert [len(row.raw["settled"]) for row in joined.waves] == [1, 6, 10]


def test_the_nodes_know_as_many_peers_as_the_model_counts(trial: Trial) -> None:
    report = trial.tool.report(0)
    assert report.nodes == report.streaming == report.settled == len(trial.joined)
    assert report.peers_seen == trial.expect().total > 0
    assert report.wrong_nodes == 0


def test_a_peer_that_never_comes_is_named(trial: Trial) -> None:
    names = [member.name for member in trial.joined]
    trial.tool.expect(dict.fromkeys([*names, "nobody"], "all"), {"all": ["all"]})
    report = trial.tool.report(0)
    assert report.wrong_nodes == len(names)
    assert all("nobody" in wrong["missing"] for wrong in report.wrong.values())
    waited = trial.tool.wait("settled", time.monotonic(), within=0.5)
    assert waited.lacking == len(names)


def test_a_peer_too_many_is_named(trial: Trial) -> None:
    admin = next(each.name for each in trial.joined if each.kind.name == "zhangsan")
    own = {each.name: each.name for each in trial.joined}
    trial.tool.expect(own, {name: [] for name in own})
    wrong = trial.tool.report(0).wrong[admin]
    assert sorted(wrong["extra"]) == sorted(own.keys() - {admin})
    assert not wrong["missing"]


def test_a_change_of_policy_reaches_every_node(trial: Trial) -> None:
    row = trial.policy_change()
    assert not row.faults
    assert len(row.raw["marked"]) == len(trial.joined)
    assert row.figures["last_s"] > 0


def test_what_the_server_does_not_send_reaches_nobody(trial: Trial) -> None:
    trial.tool.mark('"First":1}')
    waited = trial.tool.wait("marked", time.monotonic(), within=2)
    assert (waited.after, waited.lacking) == ((), len(trial.joined))


def test_a_newcomer_is_known_to_all_who_may_know_it(trial: Trial) -> None:
    before, kind = trial.expect().total, trial.joined[-1].kind
    row = trial.newcomer(plan.member(kind, 77))
    assert not row.faults
    assert row.figures["peers"] > before


def test_all_nodes_come_back_with_the_right_peers_after_a_kill(
    trial: Trial, headscale: Plain
) -> None:
    row = trial.kill(headscale.kill)
    assert not row.faults
    assert row.figures["drops"] >= len(trial.joined)
    assert row.figures["wrong_nodes"] == 0
    assert len(row.raw["streaming"]) == len(row.raw["settled"]) == len(trial.joined)


def test_a_replaced_node_is_forgotten_by_the_server_and_by_every_node(
    trial: Trial, headscale: Plain
) -> None:
    first, count = trial.joined[0], len(trial.joined)
    (row,) = soak.run(trial, seconds=0.01, share=36)  # the first one goes at once
    assert not row.faults
    assert first.name not in server.nodes(headscale)
    assert (row.figures["nodes"], row.figures["lacking"]) == (count, 0)


def test_whoever_the_server_refuses_is_named_and_the_others_join(trial: Trial) -> None:
    good, bad = plan.member(KINDS[0], 88), plan.member(KINDS[0], 89)
    keys = {**trial.keys, "bad": "hskey-auth-no-such-key"}
    nodes = {good.name: good.kind.name, bad.name: "bad"}
    wave = trial.tool.join(keys, nodes, at_once=2, within=WITHIN)
    trial.tool.end([good.name])
    server.remove_nodes(trial.server, [good.name])
    assert list(wave.after) == [good.name]
    assert list(wave.failed) == [bad.name]
    assert "refused" in wave.failed[bad.name]
