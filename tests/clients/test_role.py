"""Covers the files of the Ansible role: what linters say, and that it knows all of the installer.

What it does to a machine is in tests/lab/test_mesh_clients_ansible.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests import stacks
from tests.clients.machine import INSTALLER

FOLDER = stacks.REPOSITORY / "clients/ansible"
ROLE = FOLDER / "roles/mesh_client"
PROGRAMS = Path(sys.executable).parent
NOT_THE_ROLES = {"--check", "--help", "--uninstall", "--key-file"}  # given where they are due


def _read(path: str) -> Any:
    return yaml.safe_load((ROLE / path).read_text())


def test_ansible_lint_has_nothing_to_say(tmp_path: Path) -> None:
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "ANSIBLE_HOME": str(tmp_path), "NO_COLOR": "1"}

    line = ["ansible-lint", "--offline", "--profile=production", "--project-dir=.", "join.yml"]
    done = subprocess.run(
        [*line, "roles"],
        cwd=FOLDER,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_the_role_ships_the_installer_itself() -> None:
    assert (ROLE / "files/install.sh").resolve() == INSTALLER


def test_the_role_can_give_every_option_of_the_installer() -> None:
    options = set(re.findall(r"^  (--[a-z-]+)", INSTALLER.read_text(), re.MULTILINE))
    options |= {"--tailscaled"}  # it stands in a line with another one
    known = set(re.findall(r"'(--[a-z-]+)'", (ROLE / "vars/main.yml").read_text()))

    assert known - {"--uninstall"} == options - NOT_THE_ROLES


def test_every_variable_is_described_and_has_a_default() -> None:
    described = _read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    explained = set(re.findall(r"`(mesh_client_[a-z_0-9]+)`", (ROLE / "README.md").read_text()))

    assert set(described) == set(_read("defaults/main.yml"))
    assert set(described) <= explained


def test_what_has_to_do_with_the_key_is_never_logged() -> None:
    block = next(task["block"] for task in _read("tasks/main.yml") if "block" in task)
    touching = [task for task in block if "{{ mesh_client_key |" in str(task)]

    assert touching
    assert all(task["no_log"] is True for task in touching)
