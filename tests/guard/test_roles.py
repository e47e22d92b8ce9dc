"""Covers who is active when guards come and go. Faults of the network: test_cut_off."""

from __future__ import annotations

import time

import psycopg2
import pytest

from tests.guard import waiting
from tests.guard.conftest import MakeHost, MakePair
from tests.guard.hosts import LONG_LEASE, World


def test_one_of_two_guards_becomes_active_and_the_other_stays_standby(host: MakeHost) -> None:
    both = [host("hs-1"), host("hs-2")]
    for one in both:
        one.start()

    def roles() -> list[str]:
        return sorted(str(one.role()) for one in both)

    waiting.eventually("one is active", lambda: roles() == ["active", "standby"])
    waiting.throughout(
        "never two",
        lambda: roles() == ["active", "standby"],
        1.5 * both[0].config["timing"]["lease"],
    )


def test_a_guard_that_is_asked_to_end_hands_over_at_once(pair: MakePair) -> None:
    hosts = pair(lease=LONG_LEASE)
    asked = time.monotonic()

    hosts.active.ask_to_end()

    hosts.standby.until_serving()
    assert time.monotonic() - asked < LONG_LEASE / 2, "it must not wait for the lease to run out"
    assert hosts.active.guard.wait(waiting.PATIENCE) == 0
    assert hosts.active.role() == "stopping", "the last word must not claim that it is active"


def test_a_guard_that_is_asked_to_reload_starts_its_server_anew_and_stays_active(
    pair: MakePair,
) -> None:
    hosts = pair()
    before, token = hosts.active.server(), hosts.active.token()

    hosts.active.ask_to_reload()

    hosts.active.until(
        "has a new server", lambda status: status["server_pid"] not in (None, before)
    )
    assert hosts.active.server() != before
    assert hosts.active.token() == token, "the lease and the fence must stay"
    assert hosts.active.status()["restarts"] == 0, "what was asked for is no failure"


def test_a_standby_that_is_asked_to_reload_starts_nothing(pair: MakePair) -> None:
    hosts = pair(lease=LONG_LEASE)

    hosts.standby.ask_to_reload()
    hosts.active.ask_to_end()

    hosts.standby.until_serving()
    assert hosts.standby.log().count("started the server") == 1


def test_a_killed_guard_takes_its_server_with_it_and_the_other_takes_over(pair: MakePair) -> None:
    hosts = pair()
    server = waiting.Death(hosts.active.server())

    hosts.active.kill_guard()

    server.time()
    hosts.standby.until_serving()


def test_a_guard_that_comes_back_takes_its_own_stale_lease_without_waiting(host: MakeHost) -> None:
    alone = host(lease=LONG_LEASE)
    alone.start()
    alone.until_serving()
    first = alone.token()
    alone.kill_guard()
    again = time.monotonic()

    alone.start()

    alone.until("is active anew", lambda status: (status["token"] or 0) > first)
    assert time.monotonic() - again < LONG_LEASE / 2, "nobody else can have served meanwhile"


def test_a_host_that_cannot_serve_leaves_its_stale_lease_to_the_other(pair: MakePair) -> None:
    hosts = pair(lease=LONG_LEASE)
    hosts.active.kill_guard()
    hosts.active.cut_off_database()
    again = time.monotonic()

    hosts.active.start()

    hosts.standby.until_serving()
    assert time.monotonic() - again < LONG_LEASE / 2
    assert hosts.active.role() == "standby"


def test_a_frozen_guard_loses_the_fence_and_kills_its_server_when_it_wakes(
    pair: MakePair, world: World
) -> None:
    hosts = pair()
    session = world.database.connect("headscale_hs_1")
    server = waiting.Death(hosts.active.server())

    hosts.active.freeze_guard()

    hosts.standby.until_serving()
    assert world.database.holder().host == hosts.standby.name
    assert not server.happened(), "nobody could kill it: only the fence protects the data"
    with pytest.raises(psycopg2.OperationalError):
        session.cursor().execute("INSERT INTO writes VALUES ('hs-1')")
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        world.database.connect("headscale_hs_1")

    hosts.active.thaw_guard()

    assert server.happened(within=waiting.PATIENCE)
    hosts.active.until_role("standby")
    assert hosts.standby.role() == "active"
