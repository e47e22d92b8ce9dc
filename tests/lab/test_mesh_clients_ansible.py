"""Covers the Ansible role on a plain Debian beside the booted mesh: converge, again, check, leave.

Ansible runs on the operator's workstation and reaches the machine over SSH, as anybody's would.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from drills import joining
from lab.world.command import Done, run
from tests import stacks
from tests.lab.mesh import Mesh
from tests.lab.plain import NAME, Plain

PLAYBOOK = stacks.REPOSITORY / "clients/ansible/join.yml"
KEY_PATH = "/run/mesh-client-key"


@dataclass(frozen=True)
class Play:
    """What became of a run: its exit status, its last line of counts, all that it printed."""

    done: Done

    def count(self, what: str) -> int:
        """How many tasks ended so: ok, changed, failed."""
        found = re.search(rf"^{NAME} .*\b{what}=(\d+)", self.done.stdout, re.MULTILINE)
        assert found is not None, self.done.stdout
        return int(found[1])


@dataclass(frozen=True)
class Controller:
    """Ansible with an inventory of the one machine, and the key in a file of secrets."""

    mesh: Mesh
    folder: Path

    def play(self, *options: str, key: str = "", **variables: str) -> Play:
        """Run the playbook. `key` instead of the stack's own."""
        secrets = self.folder / "secrets.json"
        secrets.touch(0o600)
        secrets.write_text(json.dumps({"mesh_client_key": key or self.key, **variables}))
        settings = {
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_HOST_KEY_CHECKING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_SSH_ARGS": "-o UserKnownHostsFile=/dev/null -o ControlMaster=no",
            "LC_ALL": "C.UTF-8",
        }
        line = [
            *("env", *(f"{name}={value}" for name, value in settings.items())),
            *(str(Path(sys.executable).parent / "ansible-playbook"), str(PLAYBOOK)),
            *("-i", str(self.folder / "inventory.json"), "-e", f"@{self.folder / 'mesh.json'}"),
            *("-e", f"@{secrets}", *options),
        ]
        return Play(self.mesh.world.operator.run(line, check=False, within=300))

    @property
    def key(self) -> str:
        """The key that the stack hands out."""
        return str(self.mesh.outputs["keys"]["prod-servers"])


@pytest.fixture
def controller(mesh: Mesh, plain: Plain, machine_key: Path, tmp_path: Path) -> Controller:
    (found,) = (host for host in mesh.world.status()["hosts"] if host["name"] == NAME)
    reached = {
        "ansible_host": found["public"],
        "ansible_user": joining.LOGIN,
        "ansible_ssh_private_key_file": str(machine_key),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    inventory = {"all": {"hosts": {NAME: reached}}}
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    words = [str(joining.MESHCTL), "--outputs", "-", "clients", "variables"]
    told = run(words, stdin=json.dumps(mesh.outputs)).stdout
    (tmp_path / "mesh.json").write_text(told)
    return Controller(mesh, tmp_path)


def test_the_role_brings_a_machine_in(controller: Controller, plain: Plain) -> None:
    done = controller.play()

    assert (done.count("failed"), done.count("changed")) == (0, 1)
    assert plain.live.nodes()[NAME]["tags"] == ["tag:prod", "tag:web"]
    assert plain.host.exec(["test", "-e", KEY_PATH], check=False).status == 1


def test_the_role_a_second_time_changes_nothing(controller: Controller) -> None:
    controller.play()

    assert controller.play().count("changed") == 0


def test_check_mode_tells_the_truth_and_does_nothing(controller: Controller, plain: Plain) -> None:
    before = plain.files()

    assert controller.play("--check").count("changed") == 1
    assert plain.files() == before
    assert NAME not in plain.live.nodes()

    controller.play()

    assert controller.play("--check").count("changed") == 0


def test_check_mode_sees_another_profile(controller: Controller, plain: Plain) -> None:
    controller.play()

    assert controller.play("--check", mesh_client_profile="locked-down").count("changed") == 1
    shields = plain.host.exec(["tailscale", "get", "shields-up"]).stdout.strip()
    assert shields == "false"


def test_the_role_sets_another_profile(controller: Controller, plain: Plain) -> None:
    controller.play()

    assert controller.play(mesh_client_profile="locked-down").count("changed") == 1
    shields = plain.host.exec(["tailscale", "get", "shields-up"]).stdout.strip()
    assert shields == "true"


def test_ansible_shows_the_key_nowhere(controller: Controller) -> None:
    done = controller.play("-vvv")

    assert done.count("failed") == 0
    assert controller.key not in done.done.stdout + done.done.stderr


def test_a_key_that_is_refused_is_taken_away_too(controller: Controller, plain: Plain) -> None:
    done = controller.play(key="hskey-auth-nobody-knows-it", mesh_client_timeout="20")

    assert done.count("failed") == 1
    assert plain.host.exec(["test", "-e", KEY_PATH], check=False).status == 1
    assert NAME not in plain.live.nodes()


def test_a_value_that_the_role_does_not_know_is_refused(controller: Controller) -> None:
    done = controller.play(mesh_client_profile="rooted")

    assert done.count("failed") == 1
    assert "server, workstation, locked-down" in done.done.stdout


def test_the_role_takes_a_machine_out_and_leaves_nothing(
    controller: Controller, plain: Plain
) -> None:
    before = plain.files()
    controller.play()

    done = controller.play(mesh_client_state="absent")

    assert done.count("changed") == 1
    assert plain.files() == before
    assert controller.play(mesh_client_state="absent").count("changed") == 0
