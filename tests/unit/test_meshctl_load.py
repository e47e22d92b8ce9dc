"""What `meshctl load` refuses before it asks any host. What it does: tests/load/test_stage.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshctl.commands import load
from tests.ssh_hosts import Fleet
from tests.unit.meshctl_mesh import Operator


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """The manifest of a project that has built mesh-load."""
    manifest = tmp_path / "dist" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps({"mesh-load": {"path": "x/mesh-load"}}))
    return manifest


def nobody_asked(fleet: Fleet) -> bool:
    return not any(host.asked for host in fleet.hosts.values())


def test_a_protected_stack_is_refused_with_the_setting_that_protects_it(
    operator: Operator, fleet: Fleet, tool: Path
) -> None:
    fleet.tell(protect=True)
    assert operator.runs("--stack", "prod", "load", "10", "--yes") == 3
    assert "mesh:protect: true in stacks/Pulumi.prod.yaml" in operator.err
    assert nobody_asked(fleet)


def test_a_stack_that_does_not_say_whether_it_is_protected_is_refused(
    operator: Operator, fleet: Fleet, tool: Path
) -> None:
    assert operator.runs("load", "10", "--yes") == 3
    assert "do not say whether it is protected (mesh:protect)" in operator.err
    assert nobody_asked(fleet)


@pytest.mark.parametrize(
    ("count", "allowed"),
    [
        (0, "greater than or equal to 1"),
        (load.CEILING + 1, f"less than or equal to {load.CEILING}"),
    ],
)
def test_more_nodes_than_the_ceiling_or_none_are_refused(
    operator: Operator, fleet: Fleet, tool: Path, count: int, allowed: str
) -> None:
    fleet.tell(protect=False)
    assert operator.runs("load", str(count), "--yes") == 64
    assert allowed in operator.err
    assert nobody_asked(fleet)


def test_without_the_built_tool_nothing_is_asked(operator: Operator, fleet: Fleet) -> None:
    fleet.tell(protect=False)
    assert operator.runs("load", "10", "--yes") == 3
    assert "has no mesh-load; `make artifacts` builds it" in operator.err
    assert nobody_asked(fleet)


def test_whoever_does_not_agree_is_left_alone(
    operator: Operator, fleet: Fleet, tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.tell(protect=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert operator.runs("load", "10") == 3
    assert "nothing was done" in operator.err
    assert nobody_asked(fleet)
