"""Covers what clients/install.sh refuses: each with its own exit status, and nothing half done."""

from __future__ import annotations

import re

import pytest

from tests import stacks
from tests.clients import machine as machines
from tests.clients.machine import INSTALLER, KEY, SERVER, Machine

GUIDE = stacks.REPOSITORY / "docs/guides/clients.md"
HASH = "0" * 64


def _refused(
    machine: Machine, status: int, word: str, *options: str, key: str | None = KEY
) -> None:
    ended = machine.install(*options, key=key)

    assert ended.status == status, ended.said
    assert ended.told["result"] == "failed"
    assert word in ended.told["error"]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--servre", SERVER], "--servre"),
        (["--server"], "--server"),
        (["--from-repository"], "--server"),
        (["--server", SERVER], "--store"),
        (["--server", "hs.example", "--from-repository"], "'hs.example'"),
        (["--server", SERVER, "--store", "https://s", "--tailscale", "12"], "--tailscale"),
        (["--server", SERVER, "--store", "https://s", "--from-repository"], "one of them"),
        (["--server", SERVER, "--from-repository", "--profile", "root"], "'root'"),
        (["--server", SERVER, "--from-repository", "--hostname", "Web_1"], "'Web_1'"),
        (["--server", SERVER, "--from-repository", "--timeout", "soon"], "'soon'"),
        (["--server", SERVER, "--from-repository", "--repository", "http://x"], "https://"),
    ],
)
def test_wrong_arguments_are_named(debian: Machine, words: list[str], word: str) -> None:
    ended = debian.script(*words)

    assert ended.status == 64
    assert word in ended.told["error"]


def test_a_value_of_several_lines_is_refused(debian: Machine) -> None:
    _refused(debian, 64, "more than one line", "--hostname", "web\nweb")


@pytest.mark.parametrize("program", ["tailscale", "tailscaled"])
def test_a_program_with_another_hash_leaves_nothing(debian: Machine, program: str) -> None:
    before = debian.changes()
    machines.spoil(debian, program)

    _refused(debian, 13, f"another {program} ")

    assert debian.changes() == before


def test_a_newer_program_with_another_hash_leaves_the_older_one(debian: Machine) -> None:
    debian.install()
    debian.write("/usr/local/bin/tailscale", "older", "755")
    before = debian.changes()
    machines.spoil(debian, "tailscale")

    _refused(debian, 13, "another tailscale ")

    assert debian.changes() == before


def test_a_store_that_has_nothing_leaves_nothing(debian: Machine) -> None:
    before = debian.changes()
    machines.empty(debian)

    _refused(debian, 12, "could not be fetched")

    assert debian.changes() == before


def test_a_server_without_a_key_is_refused(debian: Machine) -> None:
    _refused(debian, 14, "needs --key-file", key=None)


def test_a_key_that_others_may_read_is_refused(debian: Machine) -> None:
    debian.write("/fake/open-key", KEY, "644")

    _refused(debian, 14, "others may read it", "--key-file", "/fake/open-key", key=None)


def test_a_key_file_that_is_missing_is_named(debian: Machine) -> None:
    _refused(debian, 14, "/fake/none: no such file", "--key-file", "/fake/none", key=None)


@pytest.mark.parametrize("content", ["", "two words", f"{KEY}\n{KEY}"])
def test_a_file_that_holds_no_key_is_refused(debian: Machine, content: str) -> None:
    _refused(debian, 14, "the key in one line", key=content)


def test_a_key_that_the_server_refuses_can_be_followed_by_a_better_one(debian: Machine) -> None:
    debian.write("/fake/refuses")
    _refused(debian, 17, "did not take this machine")
    debian.run("rm", "/fake/refuses")

    assert debian.install().told["steps"] == [f"join {SERVER}"]


def test_a_daemon_that_does_not_start_is_told_so(debian: Machine) -> None:
    debian.write("/fake/broken")

    _refused(debian, 16, "journalctl -u tailscaled")


def test_a_tailscale_of_somebody_else_is_left_alone(debian: Machine) -> None:
    debian.write("/usr/sbin/tailscaled", "theirs", "755")

    _refused(debian, 15, "/usr/sbin/tailscaled")

    assert debian.script("--uninstall").status == 15
    assert debian.read("/usr/sbin/tailscaled") == "theirs"


def test_a_node_of_another_mesh_is_left_there(debian: Machine) -> None:
    debian.install()

    ended = debian.install("--server", "https://hs.other.example")

    assert ended.status == 15
    assert SERVER in ended.told["error"]


def test_packages_do_not_replace_programs_of_the_store(debian: Machine) -> None:
    debian.install()

    ended = debian.installer("--from-repository")

    assert ended.status == 15
    assert "from the store" in ended.told["error"]


def test_a_name_against_the_rule_is_refused(debian: Machine) -> None:
    rule = "(prod)-(web)-(bj)-[0-9]{3}|(ops)-(laptop)-[a-z]+"

    _refused(debian, 64, rule, "--hostname", "prod-web-sh-001", "--name-pattern", rule)
    ended = debian.install("--hostname", "ops-laptop-li", "--name-pattern", rule)

    assert ended.status == 0


def test_the_machines_own_name_must_follow_the_rule_too(debian: Machine) -> None:
    _refused(debian, 64, "never-so", "--name-pattern", "never-so")


def test_a_machine_without_systemd_is_refused(debian: Machine) -> None:
    debian.run("rmdir", "/run/systemd/system")

    _refused(debian, 10, "systemd")


def test_another_distribution_is_refused(debian: Machine) -> None:
    debian.write("/etc/os-release", "ID=alpine\n")

    _refused(debian, 10, "'alpine'")


def test_a_processor_that_the_store_has_nothing_for_is_refused(debian: Machine) -> None:
    debian.write("/fake/bin/uname", "#!/bin/sh\necho aarch64\n", "755")

    _refused(debian, 10, "--from-repository")


def test_a_person_who_is_not_root_is_refused(debian: Machine) -> None:
    debian.write("/fake/bin/id", "#!/bin/sh\necho 1000\n", "755")

    _refused(debian, 10, "sudo")


def test_a_missing_program_is_named_with_its_package(debian: Machine) -> None:
    debian.run("rm", "-f", "/fake/bin/gpg", "/usr/bin/gpg")

    ended = debian.installer("--from-repository")

    assert (ended.status, "gnupg" in ended.told["error"]) == (11, True)


def test_a_run_that_is_ended_leaves_nothing(debian: Machine) -> None:
    before = debian.changes()
    debian.write("/fake/bin/curl", "#!/bin/sh\nkill -TERM $PPID\n", "755")

    ended = debian.install()

    assert (ended.status, ended.told["result"]) == (143, "failed")
    assert debian.changes() == before


def test_a_failure_that_nobody_thought_of_is_told_in_json_too(debian: Machine) -> None:
    debian.write("/fake/bin/mktemp", "#!/bin/sh\nexit 1\n", "755")

    ended = debian.install()

    assert ended.status == 1
    assert ended.told["result"] == "failed"


def test_the_guide_explains_every_exit_status() -> None:
    (line,) = re.findall(r"^USAGE=.*$", INSTALLER.read_text(), re.MULTILINE)
    wanted = {*re.findall(r"=(\d+)", line), "0", "1"}

    rows = re.findall(r"^\| (\d+) \|", GUIDE.read_text(), re.MULTILINE)

    assert set(rows) == wanted
    assert len(rows) == len(wanted)
