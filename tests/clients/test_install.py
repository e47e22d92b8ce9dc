"""Covers clients/install.sh on throwaway machines: joining, again, profiles, proxies, the way back.

Refusals are in test_refusals.py, packages in test_repository.py. What a real tailscaled does with
it is in tests/lab/test_mesh_clients.py.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.clients.machine import INSTALLER, KEY, SERVER, Machine


def _preferences(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.read("/fake/node.json"))["prefs"]
    return found


# Joining


def test_a_machine_joins_and_says_so_in_one_line_of_json(debian: Machine) -> None:
    ended = debian.install()

    assert ended.status == 0, ended.said
    assert ended.told.pop("seconds") >= 0
    assert ended.told == {
        "result": "joined",
        "changed": True,
        "steps": [
            "install tailscale tailscaled from the store",
            "write /etc/systemd/system/tailscaled.service",
            "write /etc/mesh-client/environment",
            "write /etc/systemd/system/tailscaled.service.d/mesh.conf",
            "start tailscaled, now and at each boot",
            f"join {SERVER}",
        ],
        "node": "prod-web-bj-001",
        "address": "100.64.0.9",
        "profile": "server",
        "source": "store",
        "version": "1.102.3",
    }


def test_a_second_run_changes_nothing_and_says_so(debian: Machine) -> None:
    debian.install()
    before, asked = debian.changes(), len(debian.calls("systemctl enable", "tailscale up"))

    ended = debian.install()

    assert (ended.status, ended.told["changed"], ended.told["steps"]) == (0, False, [])
    assert debian.changes() == before
    assert len(debian.calls("systemctl enable", "tailscale up")) == asked


def test_a_machine_that_has_joined_needs_no_key(debian: Machine) -> None:
    debian.install()

    assert debian.install(key=None).status == 0


def test_a_newer_program_replaces_the_older_one(debian: Machine) -> None:
    debian.install()
    debian.write("/usr/local/sbin/tailscaled", "older", "755")

    ended = debian.install()

    assert ended.told["steps"] == ["install tailscaled from the store", "restart tailscaled"]


def test_a_daemon_that_was_stopped_is_started_again(debian: Machine) -> None:
    debian.install()
    debian.run("rm", "/fake/active")

    assert debian.install().told["steps"] == ["start tailscaled, now and at each boot"]


@pytest.mark.parametrize(
    ("profile", "wanted"),
    [
        ("server", {"RouteAll": True, "ShieldsUp": False, "OperatorUser": ""}),
        ("workstation", {"RouteAll": True, "ShieldsUp": False, "OperatorUser": "zhangsan"}),
        ("locked-down", {"RouteAll": False, "ShieldsUp": True, "OperatorUser": ""}),
    ],
)
def test_a_profile_sets_what_the_guide_says(
    debian: Machine, profile: str, wanted: dict[str, object]
) -> None:
    debian.install("--profile", profile, env={"SUDO_USER": "zhangsan"})

    found = _preferences(debian)
    assert {name: found[name] for name in wanted} == wanted
    assert found["CorpDNS"]


def test_a_node_that_was_taken_down_comes_up_again_without_a_key(debian: Machine) -> None:
    debian.install()
    debian.run("sed", "-i", "s/Running/Stopped/", "/fake/node.json")

    ended = debian.install(key=None)

    assert ended.told["steps"] == ["bring the node up again"]
    assert debian.calls("tailscale up")[-1] == "tailscale up", "it changes nothing else"


@pytest.mark.parametrize("env", [{}, {"SUDO_USER": "root"}])
def test_a_workstation_that_root_sets_up_gives_nobody_more(
    debian: Machine, env: dict[str, str]
) -> None:
    debian.install("--profile", "workstation", env=env)

    assert _preferences(debian)["OperatorUser"] == ""


def test_another_profile_is_set_without_a_key(debian: Machine) -> None:
    debian.install()

    ended = debian.install("--profile", "locked-down", key=None)

    assert ended.told["steps"] == ["set the preferences of profile locked-down"]
    assert _preferences(debian)["ShieldsUp"]
    assert not debian.install("--profile", "locked-down", key=None).told["changed"]


def test_locked_down_takes_back_the_routes_that_were_offered(debian: Machine) -> None:
    debian.install("--profile", "locked-down")
    debian.run("/usr/local/bin/tailscale", "set", "--advertise-routes=10.0.0.0/8")

    assert debian.install("--profile", "locked-down").told["changed"]
    assert _preferences(debian)["AdvertiseRoutes"] is None


def test_a_server_keeps_the_routes_that_it_offers(debian: Machine) -> None:
    debian.install()
    debian.run("/usr/local/bin/tailscale", "set", "--advertise-routes=10.0.0.0/8")

    assert not debian.install().told["changed"]
    assert _preferences(debian)["AdvertiseRoutes"] == "10.0.0.0/8"


def test_a_locked_down_machine_never_offers_ssh(debian: Machine) -> None:
    debian.install("--profile", "locked-down", "--ssh")

    assert not _preferences(debian)["RunSSH"]


def test_a_workstation_may_wait_for_an_administrator_instead_of_a_key(debian: Machine) -> None:
    ended = debian.install("--profile", "workstation", key=None)

    assert ended.status == 0
    assert "an administrator must register" in ended.said


# The key


def test_the_key_reaches_the_client_from_a_file(debian: Machine) -> None:
    debian.install()

    assert debian.read("/fake/key").strip() == KEY


def test_the_key_reaches_the_client_from_standard_input(debian: Machine) -> None:
    ended = debian.install("--key-file", "-", key=None, stdin=KEY + "\n")

    assert ended.status == 0, ended.said
    assert debian.read("/fake/key").strip() == KEY


def test_the_key_is_in_no_argument_environment_output_or_file(debian: Machine) -> None:
    debian.install()

    assert KEY not in debian.read("/fake/seen"), "arguments and environment of tailscale"
    assert KEY not in "".join(debian.traces)
    # The file of the test itself, and what the stand-in remembers of it.
    found = debian.run("grep", "-rlF", KEY, "/etc", "/fake", "/usr/local", "/var/lib")
    assert found.split() == ["/fake/key", "/fake/mesh-key"]


# Proxies


def test_a_proxy_of_the_environment_is_handed_to_the_daemon(debian: Machine) -> None:
    proxies = {"HTTPS_PROXY": "http://user:pass@proxy:3128", "no_proxy": "127.0.0.1"}

    debian.install(env=proxies)

    lines = debian.read("/etc/mesh-client/environment").splitlines()
    assert lines[1:] == [
        "TS_NO_LOGS_NO_SUPPORT=true",
        'https_proxy="http://user:pass@proxy:3128"',
        'no_proxy="127.0.0.1"',
    ]
    assert debian.run("stat", "-c", "%a", "/etc/mesh-client/environment").strip() == "600"


def test_another_proxy_restarts_the_daemon(debian: Machine) -> None:
    debian.install()

    ended = debian.install(env={"https_proxy": "http://proxy:3128", "no_proxy": "127.0.0.1"})

    assert ended.told["steps"] == ["write /etc/mesh-client/environment", "restart tailscaled"]


# Only looking


def test_a_check_on_a_fresh_machine_tells_all_and_does_nothing(debian: Machine) -> None:
    before = debian.changes()

    looked = debian.install("--check")

    assert debian.changes() == before
    assert not debian.calls("systemctl enable", "tailscale up")
    assert looked.told["steps"] == debian.install().told["steps"], "it told the truth"


def test_a_check_on_a_machine_that_is_right_says_that_nothing_changes(debian: Machine) -> None:
    debian.install()

    assert not debian.install("--check").told["changed"]


def test_a_check_of_the_way_back_does_nothing(debian: Machine) -> None:
    debian.install()
    before = debian.changes()

    looked = debian.script("--uninstall", "--check")

    assert looked.told["changed"]
    assert debian.changes() == before


# The way back


def test_uninstall_leaves_nothing(debian: Machine) -> None:
    before = debian.changes()
    debian.install()
    debian.write("/var/lib/tailscale/tailscaled.state", "{}")
    debian.write("/var/cache/tailscale/derpmap.json", "{}")

    ended = debian.script("--uninstall")

    assert (ended.status, ended.told["result"], ended.told["logged_out"]) == (0, "removed", True)
    assert debian.changes() == before


def test_uninstall_logs_the_node_out_before_the_daemon_stops(debian: Machine) -> None:
    debian.install()
    debian.script("--uninstall")

    calls = debian.calls("tailscale logout", "systemctl disable")
    assert calls == ["tailscale logout", "systemctl disable --now tailscaled"]


def test_uninstall_goes_on_when_the_server_cannot_be_told(debian: Machine) -> None:
    before = debian.changes()
    debian.install()
    debian.write("/fake/unreachable")

    ended = debian.script("--uninstall")

    assert (ended.status, ended.told["logged_out"]) == (0, False)
    assert "an administrator removes the node" in ended.said
    assert debian.changes() == before


def test_uninstall_on_a_machine_without_it_changes_nothing(debian: Machine) -> None:
    ended = debian.script("--uninstall")

    assert (ended.status, ended.told["result"], ended.told["changed"]) == (0, "absent", False)


def test_a_machine_can_join_again_after_it_was_removed(debian: Machine) -> None:
    debian.install()
    debian.script("--uninstall")

    assert debian.install().status == 0


# The script itself


def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(
        ["shellcheck", "--shell=sh", str(INSTALLER)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_the_script_evaluates_no_text() -> None:
    assert "eval" not in INSTALLER.read_text().split()
