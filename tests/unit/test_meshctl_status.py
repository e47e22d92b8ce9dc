"""Covers `meshctl status`: what it asks, what it makes of it, how it exits."""

from __future__ import annotations

from typing import Any

import pytest

from meshctl.control import GUARD
from meshctl.facts import CERTIFICATE, MEMBERS, RELAYS, VOTERS
from tests.ssh_hosts import Fleet, Said
from tests.unit.meshctl_mesh import Operator, certificate, guard, members, relays, voters


def _reasons(told: dict[str, Any]) -> str:
    return "\n".join(reason["what"] for reason in told["reasons"])


def test_a_mesh_that_is_well_is_one_screen_and_exit_0(operator: Operator) -> None:
    assert operator.runs("status") == 0

    assert operator.out.startswith("healthy\n")
    assert "3 of 3 voters healthy" in operator.out
    assert "2 of 2 in the map (bj, sh)" in operator.out
    assert len(operator.out.splitlines()) <= 24
    assert operator.err == ""


def test_certificates_of_relays_are_told_whoever_issued_them(operator: Operator) -> None:
    operator.runs("status")

    assert "certificates for derp-bj 60 d, derp-sh 3600 d" in operator.out


def test_a_lost_relay_is_a_reason(operator: Operator, fleet: Fleet) -> None:
    fleet.lose("derp-sh")

    assert operator.runs("status") == 1
    assert "derp-sh: 127.0.0.1" in operator.out


def test_json_says_the_same(operator: Operator) -> None:
    told = operator.reads("status")

    assert told["state"] == "healthy" and told["reasons"] == []
    assert told["control"]["hs-1"]["role"] == "active"


def test_a_lost_standby_is_a_row_and_exit_1(operator: Operator, fleet: Fleet) -> None:
    fleet.lose("hs-2")

    assert operator.runs("status") == 1
    assert "hs-2     silent" in operator.out
    assert "Traceback" not in operator.err


def test_every_degradation_is_named(operator: Operator, fleet: Fleet) -> None:
    for host, command, said, reason in (
        ("hs-2", GUARD, guard("hs-2", "standby", database=False), "does not reach the primary"),
        ("hs-2", GUARD, guard("hs-2", "standby", at=1000), "its guard has said nothing"),
        ("hs-1", CERTIFICATE["control"], certificate(days=5), "hs-1: its certificate ends in 5 d"),
        ("derp-bj", CERTIFICATE["relay"], certificate(days=13), "derp-bj: its certificate ends in"),
        ("derp-sh", CERTIFICATE["relay"], certificate(days=-2), "certificate ended 2 d ago"),
        ("derp-sh", CERTIFICATE["relay"], Said("1\n\n"), "derp-sh: no end in"),
        ("hs-2", CERTIFICATE["control"], Said(status=1, stderr="Unable to load"), "Unable to load"),
        ("pg-1", MEMBERS, members(standby=None), "no standby in step"),
        ("ops-1", VOTERS, voters("pg-2"), "etcd voter pg-2 not healthy"),
        ("ops-1", RELAYS, relays("sh"), "relay sh is out of the map: DERP failed for 181 s"),
        ("ops-1", RELAYS, Said(status=1, stderr="mesh-relays: told nothing"), "told nothing"),
    ):
        before = fleet[host].answers[command]
        fleet[host].answers[command] = said
        assert operator.runs("status", "--json") == 1, reason
        assert reason in operator.out
        fleet[host].answers[command] = before


def test_a_hold_is_told_as_what_it_is(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-1"].answers[GUARD] = guard("hs-1", "active", server_answers=False, held_s=12.4)

    assert operator.runs("status") == 1
    assert "hs-1 keeps Headscale stopped, for 12 s at most" in operator.out


def test_without_a_serving_host_it_is_down(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-1"].answers[GUARD] = guard("hs-1", "standby")

    assert operator.runs("status") == 2
    assert operator.out.splitlines()[1] == "  down: no control host serves: nodes cannot join"
    assert "docs/runbooks/control-host-lost.md" in operator.out


def test_without_a_primary_it_is_down(operator: Operator, fleet: Fleet) -> None:
    rows = members().stdout.replace("Leader", "Replica")
    fleet["pg-1"].answers[MEMBERS] = fleet["pg-2"].answers[MEMBERS] = Said(rows)

    assert operator.runs("status") == 2
    assert "no primary" in operator.out


def test_a_lost_bastion_is_one_reason_and_no_outage(operator: Operator, fleet: Fleet) -> None:
    fleet.lose("ops-1")

    told = operator.reads("status")

    assert told["state"] == "degraded"
    assert "a control host reaches one" in _reasons(told)
    assert "pg-1" not in _reasons(told), "it only cannot be asked"


def test_with_all_hosts_lost_it_says_so(operator: Operator, fleet: Fleet) -> None:
    for name in fleet.hosts:
        fleet.lose(name)

    assert operator.runs("status") == 2
    assert "no control host could be asked" in operator.out


def test_an_answer_that_makes_no_sense_is_a_fact_too(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-2"].answers[GUARD] = Said("1\nnot json\n")
    fleet["pg-1"].answers[MEMBERS] = Said("also not\n")

    assert operator.runs("status") == 1
    assert "no status of a guard" in operator.out


def test_outputs_that_lack_something_name_it_and_exit_3(operator: Operator, fleet: Fleet) -> None:
    hosts = fleet.told()["hosts"]
    del hosts["hs-1"]["host_key"]
    fleet.tell(hosts=hosts)

    assert operator.runs("status") == 3
    assert "hosts.hs-1.host_key: field required" in operator.err
    assert "PRIVATE KEY" not in operator.err


def test_a_key_that_was_not_shown_is_told_without_its_text(
    operator: Operator, fleet: Fleet
) -> None:
    fleet.tell(operators_key="[secret]")

    assert operator.runs("status") == 3
    assert "--show-secrets" in operator.err


def test_the_outputs_come_from_pulumi_unless_given(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meshctl import command

    program = operator.project / "pulumi"
    program.write_text(f'#!/bin/sh\necho "$@" >asked\ncat {fleet.outputs}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PULUMI", str(program))

    assert command.main(["--stack", "blue", "--project", str(operator.project), "status"]) == 0
    asked = (operator.project / "asked").read_text()
    assert asked == "stack output --json --show-secrets --stack blue\n"


def test_wrong_usage_is_not_taken_for_an_outage(operator: Operator) -> None:
    assert operator.runs("status", "--jsno") == 64


def test_two_hosts_that_say_they_serve_are_named(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-2"].answers[GUARD] = guard("hs-2", "active")

    assert operator.runs("status") == 1
    assert "hs-1 and hs-2 both say that they serve" in operator.out


def test_without_a_quorum_of_etcd_it_is_down(operator: Operator, fleet: Fleet) -> None:
    fleet["ops-1"].answers[VOTERS] = voters("pg-1", "pg-2")

    assert operator.runs("status") == 2
    assert "etcd has no quorum: pg-1, pg-2 not healthy" in operator.out
