"""Fixtures: throwaway machines of either family."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.clients import machine
from tests.clients.machine import Machine

DEBIAN: Final = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
ROCKY: Final = 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[Machine]:
    """A Debian 12 that has never heard of the mesh."""
    with machine.machine(tmp_path, DEBIAN) as made:
        yield made


@pytest.fixture
def rocky(tmp_path: Path) -> Iterator[Machine]:
    """A Rocky 9, as far as the installer can tell."""
    with machine.machine(tmp_path, ROCKY) as made:
        yield made
