"""Covers the fence between two hosts in the database, and a client that waits for no one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from guard.fence import Fence, FenceError, Holder, StaleTokenError
from tests.guard import database as databases
from tests.guard import waiting
from tests.guard.conftest import MakeHost, MakePair
from tests.guard.database import Database
from tests.guard.link import Link


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """The file with the password of every role."""
    file = tmp_path / "password"
    file.write_text(databases.PASSWORD)
    return file


@pytest.fixture
def link(database: Database) -> Iterator[Link]:
    """A way to the database that the test may cut."""
    made = Link(database.port)
    yield made
    made.end()


def dsn(port: int, role: str) -> str:
    return f"host=127.0.0.1 port={port} dbname=headscale user={role}"


@pytest.fixture
def first(database: Database, password: Path) -> Fence:
    """The fence as hs-1 sees it."""
    return Fence(dsn(database.port, "guard_hs_1"), password)


@pytest.fixture
def second(database: Database, password: Path) -> Fence:
    """The fence as hs-2 sees it."""
    return Fence(dsn(database.port, "guard_hs_2"), password)


def test_the_newest_token_holds_the_fence(first: Fence, second: Fence) -> None:
    first.take(10)
    second.take(11)

    assert first.holder() == Holder("hs-2", 11)


def test_an_older_token_is_refused_and_changes_nothing(first: Fence, second: Fence) -> None:
    second.take(11)

    with pytest.raises(StaleTokenError, match=r"token 10 is not newer than 11 of hs-2"):
        first.take(10)

    assert first.holder() == Holder("hs-2", 11)


def test_the_same_token_may_be_taken_twice_by_the_same_host(first: Fence) -> None:
    first.take(10)
    first.take(10)

    assert first.holder() == Holder("hs-1", 10)


def test_every_session_of_the_other_host_has_ended_when_the_fence_is_taken(
    first: Fence, database: Database
) -> None:
    sessions = [database.connect("headscale_hs_2") for _ in range(3)]

    first.take(10)

    for session in sessions:
        with pytest.raises(psycopg2.OperationalError):
            session.cursor().execute("SELECT 1")
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        database.connect("headscale_hs_2")


def test_a_session_of_the_host_that_takes_the_fence_goes_on(
    first: Fence, database: Database
) -> None:
    session = database.connect("headscale_hs_1")

    first.take(10)

    session.cursor().execute("INSERT INTO writes VALUES ('hs-1')")


@pytest.mark.parametrize("known", [True, False], ids=["in the middle", "from the beginning"])
def test_a_silent_database_is_an_error_and_not_a_wait(
    link: Link, password: Path, *, known: bool
) -> None:
    fence = Fence(dsn(link.port, "guard_hs_1"), password)
    if known:
        fence.holder()
    link.cut()
    asked = time.monotonic()

    with pytest.raises(FenceError, match="no answer"):
        fence.holder()

    assert time.monotonic() - asked < waiting.PATIENCE / 2
    link.heal()
    assert fence.holder().host == "none", "a new connection, not the one that lost its answer"


def test_a_missing_password_file_is_an_error_of_the_fence(database: Database) -> None:
    fence = Fence(dsn(database.port, "guard_hs_1"), Path("/nowhere/password"))

    with pytest.raises(FenceError, match="/nowhere/password"):
        fence.holder()


def test_a_guard_whose_token_is_stale_gives_up_and_says_why(
    host: MakeHost, database: Database
) -> None:
    """As when etcd was rebuilt from nothing, and its revisions began anew."""
    database.run("UPDATE fence.holder SET host = 'hs-2', token = 1000000000")
    alone = host()

    alone.start()

    alone.until("says why", lambda status: "1000000000" in status["reason"])
    assert alone.status()["server_pid"] is None


def test_a_guard_steps_down_for_a_newer_holder_whatever_etcd_says(
    pair: MakePair, database: Database
) -> None:
    hosts = pair()
    token = hosts.active.token()
    server = waiting.Death(hosts.active.server())

    database.run(f"UPDATE fence.holder SET host = 'hs-2', token = {token} + 1")

    assert server.happened(within=waiting.PATIENCE)
    hosts.standby.until_serving()


def test_a_database_that_forgot_the_newest_holder_is_told_again(
    pair: MakePair, database: Database
) -> None:
    """As when the last writes were lost with the primary."""
    hosts = pair()
    pid, token = hosts.active.server(), hosts.active.token()

    database.run("UPDATE fence.holder SET host = 'hs-2', token = 1")
    database.run("ALTER ROLE headscale_hs_1 NOLOGIN; ALTER ROLE headscale_hs_2 LOGIN")

    waiting.eventually("taken again", lambda: database.holder() == Holder("hs-1", token))
    database.connect("headscale_hs_1").close()
    assert (hosts.active.role(), hosts.active.server()) == ("active", pid)
    waiting.throughout(
        "once is enough", lambda: hosts.active.log().count("has forgotten") == 1, seconds=2.0
    )
    assert hosts.active.status()["takeovers"] == 1, "it was active all the time"
