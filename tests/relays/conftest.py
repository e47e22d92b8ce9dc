"""Fixtures of the relays' tests: real voters for the session, and relays for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.certificates import Authority
from tests.guard.voters import Voters
from tests.relays.mesh import Mesh, program


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs for voters and relays."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def voters(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Voters]:
    """Three voters."""
    made = Voters(Path(program("etcd")), tmp_path_factory.mktemp("voters"), authority)
    yield made
    made.end()


@pytest.fixture
def mesh(tmp_path: Path, voters: Voters, authority: Authority) -> Iterator[Mesh]:
    """Two relays that work and are in the map."""
    made = Mesh(tmp_path, voters, authority)
    try:
        made.start()
        yield made
    finally:
        made.end()
