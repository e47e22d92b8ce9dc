"""Fixtures of more than one file here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ssh_hosts
from tests.ssh_hosts import Fleet
from tests.unit import meshctl_mesh
from tests.unit.meshctl_mesh import Operator


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Hosts of a mesh that is well."""
    with ssh_hosts.fleet(tmp_path) as made:
        meshctl_mesh.make_well(made)
        yield made


@pytest.fixture
def operator(fleet: Fleet, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Operator:
    """Somebody with the outputs of that mesh."""
    return Operator(fleet, tmp_path, capfd)
