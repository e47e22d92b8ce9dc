"""Fixtures of the guard's tests: real voters and a real database for the session, and for each
test hosts of its own with keys of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guard.certificates import Authority
from tests.guard.database import Database
from tests.guard.hosts import ROOT, Host, Pair, World
from tests.guard.voters import Voters

MakeHost = Callable[..., Host]
MakePair = Callable[..., Pair]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three voters and a database."""
    manifest = json.loads((ROOT / "dist/manifest.json").read_text())
    folder = tmp_path_factory.mktemp("world")
    authority = Authority(folder)
    voters = Voters(ROOT / "dist" / manifest["etcd"]["path"], folder, authority)
    try:
        database = Database()
        try:
            yield World(voters, database, authority, authority.issue("server"))
        finally:
            database.end()
    finally:
        voters.end()


@pytest.fixture
def voters(world: World) -> Iterator[Voters]:
    """The voters, all of them well again afterwards."""
    yield world.voters
    for voter in world.voters.each:
        voter.thaw()
    world.voters.settle()


@pytest.fixture
def database(world: World) -> Database:
    """The database, whose fence nobody has ever taken."""
    world.database.reset()
    return world.database


@pytest.fixture
def host(world: World, database: Database, tmp_path: Path) -> Iterator[MakeHost]:
    """Makes a host whose guard is not started: `host("hs-1", lease=5)`."""
    made: list[Host] = []

    def make(name: str = "hs-1", **timing: float) -> Host:
        peer = "hs-2" if name == "hs-1" else "hs-1"
        made.append(Host(world, tmp_path, name, peer, timing))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def pair(host: MakeHost) -> MakePair:
    """Makes two hosts, the first of which is active and serves."""

    def make(**timing: float) -> Pair:
        active, standby = host("hs-1", **timing), host("hs-2", **timing)
        active.start()
        active.until_role("active")
        standby.start()
        standby.until_role("standby")
        standby.until("reaches the database", lambda status: status["database"])
        active.until_serving()
        return Pair(active, standby)

    return make
