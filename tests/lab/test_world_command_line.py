"""python -m lab: what its commands print and with which status they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.__main__ import main
from tests.lab.pair import FRONT_PUBLIC, TwoHosts

_REPOSITORY = Path(__file__).resolve().parents[2]


def lab(two_hosts: TwoHosts, *words: str) -> subprocess.CompletedProcess[str]:
    """The command run as a person runs it."""
    state = str(two_hosts.world.state.root)
    command = [sys.executable, "-m", "lab", "--state", state, *words]
    return subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=False)


def test_status_tells_hosts_and_services_as_json(
    two_hosts: TwoHosts, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["status", "--json", "--state", str(two_hosts.world.state.root)])
    said = json.loads(capsys.readouterr().out)

    assert status == 0
    assert {host["name"]: host["public"] for host in said["hosts"]} == {
        "front": FRONT_PUBLIC,
        "back": None,
    }
    assert all(said["services"].values())


def test_exec_ends_with_the_status_of_the_command(two_hosts: TwoHosts) -> None:
    assert lab(two_hosts, "exec", "back", "--", "sh", "-c", "exit 7").returncode == 7


def test_exec_operator_stands_outside_the_clouds(two_hosts: TwoHosts) -> None:
    said = lab(two_hosts, "exec", "operator", "--", "getent", "hosts", "front.example")

    assert said.stdout.split() == [FRONT_PUBLIC, "front.example"]


def test_console_shows_what_a_host_printed(two_hosts: TwoHosts) -> None:
    assert "cloud-init" in lab(two_hosts, "console", "front").stdout


def test_an_unknown_host_is_named_with_a_remedy(two_hosts: TwoHosts) -> None:
    said = lab(two_hosts, "exec", "nobody", "--", "true")

    assert said.returncode == 1
    assert "there is no host nobody" in said.stderr and "status" in said.stderr


def test_a_folder_without_a_world_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--state", str(tmp_path)]) == 1
    assert "python -m lab start" in capsys.readouterr().err


def test_start_refuses_a_folder_that_is_not_a_labs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()

    assert main(["start", "--state", str(tmp_path)]) == 1
    assert "is in use by something else" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()
