"""The life of a stack in each simulated cloud, on the real engine.

One test per cloud goes all the way, because every step costs a start of pulumi: preview,
up, no change, drift, repair, replacement, destruction.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from lab import engine
from tests.engine.lab_programs import CLOUD_KEY, CLOUDS, USER_DATA

Run = Callable[..., engine.Result]
Make = Callable[[str], engine.Engine]


def names(digest: dict[str, Any], *ops: str) -> set[str]:
    """The names of the resources to which a preview would do one of the operations."""
    return {step["urn"].split("::")[-1] for step in digest["steps"] if step["op"] in ops}


@pytest.mark.parametrize("cloud", list(CLOUDS))
def test_a_stack_lives_from_preview_to_destroy(cloud: str, lab_program: Make, pulumi: Run) -> None:
    program, moved, group_type = CLOUDS[cloud]
    lab = lab_program(program)

    preview = lab.preview_json("dev")
    assert {"net", "sub", "fw", "host", "ip", "store"} <= names(preview, "create")
    assert not lab.store.all(), "a preview changes nothing in the cloud"

    pulumi(lab, "up").check()
    outputs = lab.stack_outputs("dev")
    assert outputs["private"].startswith("10.0.1.")
    assert outputs["address"].startswith("198.18.")
    pulumi(lab, "up", "--expect-no-changes").check()
    pulumi(lab, "refresh", "--expect-no-changes").check()

    (group,) = lab.store.all(cloud, group_type)
    lab.store.tamper(cloud, group.id, tags={"color": "red"})
    assert "1 updated" in pulumi(lab, "refresh").check().stdout, "refresh sees the drift"
    assert names(lab.preview_json("dev"), "update") == {"fw"}

    lab.run("config", "set", "subnet", "7", "--stack", "dev").check()
    assert names(lab.preview_json("dev"), "replace") >= moved
    pulumi(lab, "up").check()
    (group,) = lab.store.all(cloud, group_type)
    assert group.outputs["tags"] == {"color": "blue"}, "up repairs the drift"
    (subnet,) = (r for r in lab.store.all(cloud) if r.name == "sub")
    assert subnet.inputs["cidrBlock"] == "10.0.7.0/24"

    _assert_no_secret_is_readable(lab)
    pulumi(lab, "destroy").check()
    assert not lab.store.all(), "destroy leaves nothing"


def _assert_no_secret_is_readable(lab: engine.Engine) -> None:
    exported = json.dumps(lab.export("dev"))
    for secret in (USER_DATA, base64.b64encode(USER_DATA.encode()).decode()[4:-4], CLOUD_KEY):
        assert secret not in exported
        # Not read in this process: closing the store's file would drop SQLite's locks on it.
        # The test program holds the values as constants, so its bytecode does too.
        found = subprocess.run(
            ["grep", "-rl", "--exclude-dir=bin", "--exclude-dir=__pycache__", secret, lab.state],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.stdout == "", "a secret is on the disk in clear"
