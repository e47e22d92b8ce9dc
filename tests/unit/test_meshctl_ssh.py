"""Covers how meshctl reaches hosts: over real SSH, with pinned keys, through the bastion."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from pathlib import Path

import asyncssh
import pytest

from meshctl import ssh, stack
from meshctl.facts import MEMBERS
from meshctl.trouble import NotKnownError
from tests.ssh_hosts import SILENT, Fleet, Said
from tests.unit.meshctl_mesh import Operator


def _another_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()


def _with_key_of(fleet: Fleet, name: str, key: str) -> None:
    hosts = fleet.told()["hosts"]
    hosts[name]["host_key"] = key
    fleet.tell(hosts=hosts)


def test_a_private_host_is_reached_through_the_bastion(operator: Operator, fleet: Fleet) -> None:
    operator.runs("status")

    assert (MEMBERS, "") in fleet["pg-1"].asked
    assert set(fleet["ops-1"].forwarded) == {fleet["pg-1"].port, fleet["pg-2"].port}


def test_a_public_host_is_reached_without_the_bastion(operator: Operator, fleet: Fleet) -> None:
    fleet.lose("ops-1")
    fleet["hs-1"].answers["sudo mesh-registry users"] = Said('{"users": []}')

    assert operator.runs("users") == 0


def test_a_host_with_another_key_than_the_pinned_one_is_asked_nothing(
    operator: Operator, fleet: Fleet
) -> None:
    _with_key_of(fleet, "hs-1", _another_key())

    told = operator.reads("status")

    assert "another host key" in told["control"]["hs-1"]["error"]
    assert fleet["hs-1"].asked == []


def test_a_bastion_with_another_key_leads_to_nobody(operator: Operator, fleet: Fleet) -> None:
    _with_key_of(fleet, "ops-1", _another_key())

    told = operator.reads("status")

    assert "the way to it leads through ops-1" in told["silent"]["pg-1"]
    assert fleet["ops-1"].forwarded == [] and fleet["pg-1"].asked == []


def test_a_key_that_opens_nothing_is_told_as_such(operator: Operator, fleet: Fleet) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    fleet.tell(operators_key=stranger)

    told = operator.reads("status")

    assert "refuses the operators' key" in told["control"]["hs-1"]["error"]


def test_a_host_that_never_answers_is_given_up(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 0.2)
    hosts = fleet.told()["hosts"]
    hosts["hs-2"]["address"] = "192.0.2.1"  # RFC 5737: nobody has it
    fleet.tell(hosts=hosts)

    told = operator.reads("status")

    assert "192.0.2.1" in told["control"]["hs-2"]["error"]


def test_a_command_that_does_not_end_is_given_up_and_may_have_been_done(fleet: Fleet) -> None:
    fleet["hs-1"].answers["sleep"] = SILENT
    mesh = stack.load("prod", str(fleet.outputs), Path())

    async def ask() -> None:
        async with ssh.Session(mesh) as session:
            await session.run("hs-1", "sleep", within=0.2)

    with pytest.raises(
        NotKnownError, match=r"(?s)hs-1: no answer within 0.2 s.*asked: sleep.*do: see"
    ):
        asyncio.run(ask())


def test_ssh_runs_a_command_on_a_private_host_and_gives_its_exit_status(
    operator: Operator, fleet: Fleet
) -> None:
    fleet["pg-1"].answers["cat /etc/hostname"] = Said("pg-1\n", status=5)

    assert operator.runs("ssh", "pg-1", "--", "cat", "/etc/hostname") == 5
    assert operator.out == "pg-1\n"


def test_ssh_refuses_a_host_with_another_key(operator: Operator, fleet: Fleet) -> None:
    _with_key_of(fleet, "hs-1", _another_key())

    assert operator.runs("ssh", "hs-1", "--", "true") == 255
    assert fleet["hs-1"].asked == []


def test_ssh_writes_no_secret_and_leaves_nothing(
    operator: Operator, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    seen: dict[str, str] = {}

    def look(_: str) -> Said:
        (folder,) = room.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        seen.update({f.name: f.read_text() for f in folder.iterdir() if f.is_file()})
        return Said()

    fleet["hs-1"].answers["true"] = look
    assert operator.runs("ssh", "hs-1", "--", "true") == 0

    assert set(seen) == {"config", "known_hosts"}
    assert "PRIVATE KEY" not in "".join(seen.values())
    assert list(room.iterdir()) == []


def test_ssh_names_the_hosts_there_are(operator: Operator) -> None:
    assert operator.runs("ssh", "hs-9") == 3
    assert "choose from hs-1, hs-2, pg-1, pg-2, ops-1" in operator.err


def test_the_operators_own_keys_and_agent_are_not_offered(
    operator: Operator, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", os.devnull)
    fleet["hs-1"].answers["true"] = Said()

    assert operator.runs("ssh", "hs-1", "--", "true") == 0
