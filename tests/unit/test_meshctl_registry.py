"""Covers the commands that the live server answers: users, nodes, keys, policy, tags, addresses."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshctl import control
from meshctl.control import GUARD
from tests import stacks
from tests.ssh_hosts import Fleet, Said, Script, json_said
from tests.unit.meshctl_mesh import Operator, guard

KEY = "hskey-auth-a-secret"
NODES = {"nodes": [
    {"id": 1, "name": "prod-web-bj-001", "user": "prod", "tags": ["tag:prod", "tag:web"],
     "ipv4": "100.64.0.1", "ipv6": "fd7a::1", "online": True, "last_seen": None, "expiry": None},
    {"id": 2, "name": "zhangsan-mac", "user": "zhangsan", "tags": [], "ipv4": "100.64.0.2",
     "ipv6": "fd7a::2", "online": False, "last_seen": "2026-11-24T01:00:00Z", "expiry": None},
]}  # fmt: skip
PLAN = {"moves": [{"id": 1, "node": "prod-web-bj-001", "from": "100.64.0.1", "to": "100.64.16.1",
                   "range": "prod-web"}],
        "strays": [{"node": "laptop", "why": "follows no rule"}], "full": []}  # fmt: skip


@pytest.fixture(autouse=True)
def zhangsan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks."""
    monkeypatch.setattr("getpass.getuser", lambda: "zhangsan")
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A take-over takes no time here."""
    monkeypatch.setattr(control, "PAUSE_SECONDS", 0.0)


def _answer(fleet: Fleet, words: str, said: object, host: str = "hs-1") -> None:
    script: Script = said if isinstance(said, Said) else json_said(said)
    fleet[host].answers[f"sudo mesh-registry {words}"] = script


def _asked(fleet: Fleet, host: str = "hs-1") -> list[str]:
    prefix = "sudo mesh-registry "
    found = [command for command, _ in fleet[host].asked if command.startswith(prefix)]
    return [command.removeprefix(prefix) for command in found]


# Where it is asked


def test_the_active_host_is_asked_and_no_other(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-1"].answers[GUARD] = guard("hs-1", "standby")
    fleet["hs-2"].answers[GUARD] = guard("hs-2", "active")
    _answer(fleet, "nodes", NODES, host="hs-2")

    assert operator.reads("nodes") == NODES
    assert _asked(fleet, "hs-1") == []


def test_a_role_that_moves_is_followed(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "nodes", json_said({"active": "hs-2"}, status=3))
    _answer(fleet, "nodes", NODES, host="hs-2")

    assert operator.reads("nodes") == NODES


def test_a_role_that_nobody_has_is_waited_for(operator: Operator, fleet: Fleet) -> None:
    times: list[int] = []

    def later(_: str) -> Said:
        times.append(1)
        return json_said(NODES) if len(times) == 3 else json_said({"active": None}, status=3)

    fleet["hs-1"].answers["sudo mesh-registry nodes"] = later

    assert operator.reads("nodes") == NODES


def test_a_role_that_moves_for_ever_is_given_up(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "nodes", json_said({"active": "hs-2"}, status=3))
    _answer(fleet, "nodes", json_said({"active": "hs-1"}, status=3), host="hs-2")

    assert operator.runs("nodes") == 3
    assert len(_asked(fleet, "hs-1")) + len(_asked(fleet, "hs-2")) == control.MOVES
    assert "nothing was done" in operator.err


def test_without_an_active_host_each_is_told_of(operator: Operator, fleet: Fleet) -> None:
    fleet["hs-1"].answers[GUARD] = guard("hs-1", "standby", reason="the lease was not renewed")
    fleet.lose("hs-2")

    assert operator.runs("nodes") == 3
    assert "hs-1: standby: the lease was not renewed" in operator.err
    assert "hs-2: 127.0.0.1:" in operator.err


def test_a_refusal_names_host_command_and_reason(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "users", Said(status=1, stderr="mesh-registry: list the users: 401\n"))

    assert operator.runs("users") == 3
    assert operator.err == (
        "meshctl: hs-1: mesh-registry: list the users: 401\n  asked: sudo mesh-registry users\n"
    )


# Inventory


def test_nodes_are_filtered(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "nodes", NODES)

    def names(*words: str) -> list[str]:
        return [node["name"] for node in operator.reads("nodes", *words)["nodes"]]

    assert names("prod-*") == ["prod-web-bj-001"]
    assert names("--tag", "tag:web") == ["prod-web-bj-001"]
    assert names("--user", "zhangsan") == ["zhangsan-mac"]
    assert names("--offline") == ["zhangsan-mac"]
    assert names("--online", "--user", "zhangsan") == []


def test_nodes_are_a_table(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "nodes", NODES)

    assert operator.runs("nodes") == 0
    assert [line.split()[0] for line in operator.out.splitlines()] == [
        "node",
        "prod-web-bj-001",
        "zhangsan-mac",
    ]


def test_users_show_who_is_not_declared(operator: Operator, fleet: Fleet) -> None:
    users = [{"name": "old", "id": 9, "declared": False, "nodes": ["a", "b"]}]
    _answer(fleet, "users", {"users": users})

    assert operator.runs("users") == 0
    assert operator.out.splitlines()[1].split() == ["old", "9", "no", "a,", "b"]


def test_strays_are_exit_1(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "addresses plan", PLAN)
    assert operator.runs("names") == 1
    assert "follows no rule" in operator.out

    _answer(fleet, "addresses plan", {**PLAN, "strays": []})
    assert operator.runs("names") == 0


# Keys


def test_a_key_is_printed_alone(operator: Operator, fleet: Fleet) -> None:
    _answer(
        fleet, "keys show prod", {"name": "prod", "key": KEY, "expires": "2027-01-01T00:00:00Z"}
    )

    assert operator.runs("keys", "show", "prod") == 0
    assert operator.out == f"{KEY}\n"
    assert operator.err == "prod expires 2027-01-01 00:00Z\n"


def test_a_key_goes_into_a_new_file_of_its_owner(
    operator: Operator, fleet: Fleet, tmp_path: Path
) -> None:
    told = {"name": "prod", "key": KEY, "expires": None}
    _answer(fleet, "keys show prod --to zhangsan@laptop", told)
    file = tmp_path / "key"

    assert operator.runs("keys", "show", "prod", "--file", str(file)) == 0
    assert file.read_text() == f"{KEY}\n" and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY not in operator.out + operator.err


def test_a_file_that_exists_stays_and_no_key_is_asked_for(
    operator: Operator, fleet: Fleet, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("mine")

    assert operator.runs("keys", "show", "prod", "--file", str(file)) == 3
    assert file.read_text() == "mine" and _asked(fleet) == []


def test_a_key_that_is_not_there_leaves_no_file(
    operator: Operator, fleet: Fleet, tmp_path: Path
) -> None:
    refusal = Said(status=1, stderr="mesh-registry: no key prod\n")
    _answer(fleet, "keys show prod --to zhangsan@laptop", refusal)

    assert operator.runs("keys", "show", "prod", "--file", str(tmp_path / "key")) == 3
    assert not (tmp_path / "key").exists()


def test_the_list_of_keys_says_who_has_which(operator: Operator, fleet: Fleet) -> None:
    entry = {"id": 1, "state": "valid", "used": False, "created": 0, "rotates": 0, "expires": 0}
    handed = {"at": 1795482000, "to": "lisi@desk"}
    _answer(fleet, "keys list", {
        "keys": [{**entry, "name": "web", "hand_out": "output", "handed": None}],
        "api_keys": [{**entry, "name": "free", "hand_out": "file", "handed": None},
                     {**entry, "name": "console", "hand_out": "file", "handed": handed}],
    })  # fmt: skip

    assert operator.runs("keys", "list") == 0
    web, free, console = (line.rstrip() for line in operator.out.splitlines()[1:])
    assert web.endswith("with the outputs")
    assert free.endswith("not yet")
    assert console.endswith("2026-11-24 01:00Z to lisi@desk")


def test_a_secret_that_is_no_json_is_not_repeated(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "keys show prod", Said(stdout=KEY))

    assert operator.runs("keys", "show", "prod") == 3
    assert KEY not in operator.out + operator.err


def test_rotation_passes_names_and_wishes_on(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "keys rotate prod --force --dry-run", {"rotated": ["prod"], "kept": []})

    assert operator.runs("keys", "rotate", "prod", "--force", "--dry-run") == 0
    assert operator.out == "would be rotated: prod\nkept: -\n"


# Policy


def _rule(source: str) -> str:
    return f'{{"acls": [{{"action": "accept", "src": ["{source}"], "dst": ["tag:db:5432"]}}]}}'


def test_the_difference_to_the_live_server_is_told(operator: Operator, fleet: Fleet) -> None:
    (operator.project / "policy").mkdir()
    (operator.project / "policy/policy.hujson").write_text(_rule("group:dba"))
    _answer(fleet, "policy show", {"text": _rule("group:old"), "version": 3, "set_at": None})

    told = operator.reads("policy", "report", "--live")

    assert len(told["opens"]) == len(told["closes"]) == 1
    assert told["opens"][0].startswith("group:dba → tag:db: ")
    assert told["closes"][0].startswith("group:old → tag:db: ")


def test_a_wrong_file_is_found_without_any_host(operator: Operator, fleet: Fleet) -> None:
    folder = operator.project / "policy"
    folder.mkdir()
    (folder / "users.yaml").write_text("users: [{name: BAD}]")

    assert operator.runs("policy", "check") == 1
    assert "users.yaml" in operator.out and "BAD" in operator.out
    assert not any(host.asked for host in fleet.hosts.values())


def test_a_rollback_needs_a_yes_or_an_answer(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(fleet, "policy rollback 3", {"version": 3, "from": 5})

    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert operator.runs("policy", "rollback", "3") == 3
    assert _asked(fleet) == []

    assert operator.runs("policy", "rollback", "3", "--yes") == 0
    assert operator.out == "version 3 is set, in place of 5\n"


def test_the_history_is_a_table(operator: Operator, fleet: Fleet) -> None:
    version = {"version": 5, "set_at": "2026-11-24T01:00:00Z", "sha256": "ab" * 32, "note": ""}
    _answer(fleet, "policy history", {"versions": [version]})

    assert operator.runs("policy", "history") == 0
    assert operator.out.splitlines()[1].split() == ["5", "2026-11-24", "01:00Z", "ab" * 6, "-"]


# Tags and addresses


def _tags(operator: Operator, fleet: Fleet) -> dict[str, Any]:
    """The declared tags: the input that both verbs must get."""
    shutil.copytree(stacks.REPOSITORY / "policy", operator.project / "policy")
    change = {"node": "prod-web-bj-001", "id": 1, "from": [], "to": ["tag:prod", "tag:web"]}
    for verb in ("plan", "apply"):
        _answer(
            fleet,
            f"tags {verb}",
            {"changes": [change], "untagged": ["phone"], "unmatched": ["laptop"]},
        )
    found: dict[str, Any] = yaml.safe_load((operator.project / "policy/tags.yaml").read_text())
    return found


def test_tags_are_only_changed_with_yes(operator: Operator, fleet: Fleet) -> None:
    wanted = _tags(operator, fleet)

    assert operator.runs("tag", "apply") == 0
    assert _asked(fleet) == ["tags plan"] and "nothing was changed" in operator.err

    assert operator.runs("tag", "apply", "--yes") == 0
    assert _asked(fleet) == ["tags plan", "tags apply"]
    inputs = [json.loads(stdin) for command, stdin in fleet["hs-1"].asked if "tags" in command]
    assert inputs == [wanted, wanted]


def test_addresses_are_only_changed_with_yes(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "addresses plan", PLAN)
    _answer(fleet, "addresses apply", {**PLAN, "moved": 1, "pause_s": 2.1, "undo": "20261124"})

    assert operator.runs("addresses", "apply") == 0
    assert _asked(fleet) == ["addresses plan"]

    assert operator.runs("addresses", "apply", "--yes") == 0
    assert "1 moved, Headscale was away for 2.1 s" in operator.out
    assert "meshctl addresses undo 20261124" in operator.out


def test_an_undo_names_what_it_undoes(operator: Operator, fleet: Fleet) -> None:
    _answer(fleet, "addresses undo 20261124", {"moved": 1})

    assert operator.runs("addresses", "undo", "20261124", "--yes") == 0
    assert operator.out == "1 put back\n"
