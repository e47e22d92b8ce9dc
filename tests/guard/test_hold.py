"""Covers the hold: the server stays stopped for a moment, on request, while the lease is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.guard import waiting
from tests.guard.conftest import MakeHost, MakePair
from tests.guard.database import Database
from tests.guard.holding import Client
from tests.guard.hosts import LONG_LEASE, Host, Pair

Connect = Callable[[Host], Client]


@pytest.fixture
def client() -> Iterator[Connect]:
    """Connects to the hold socket of a host."""
    made: list[Client] = []

    def connect(host: Host) -> Client:
        made.append(Client(host.hold_socket))
        return made[-1]

    yield connect
    for one in made:
        one.vanish()


def is_held(status: dict[str, Any]) -> bool:
    return status["held_s"] is not None and status["server_pid"] is None


@pytest.fixture
def alone(host: MakeHost) -> Host:
    """A host that serves."""
    made = host(lease=LONG_LEASE)
    made.start()
    made.until_serving()
    return made


def test_a_held_server_has_ended_when_the_client_is_told_so(alone: Host, client: Connect) -> None:
    server = waiting.Death(alone.server())

    answer = client(alone).ask("hold 20")

    assert server.happened(), "SQL may begin now"
    assert 19 < answer["held"] <= 20
    said = alone.until("is held", is_held)
    assert (said["role"], said["holder"]) == ("active", "hs-1")
    assert 0 < said["held_s"] <= 20


def test_a_release_starts_the_server_with_the_same_lease_and_counts_as_no_failure(
    alone: Host, client: Connect
) -> None:
    token, holding = alone.token(), client(alone)
    holding.ask("hold 20")
    alone.until("is held", is_held)

    holding.say("release")

    alone.server()
    said = alone.until("is not held", lambda status: status["held_s"] is None)
    assert (said["token"], said["restarts"], said["takeovers"]) == (token, 0, 1)


def test_a_client_that_vanishes_has_released(alone: Host, client: Connect) -> None:
    holding = client(alone)
    holding.ask("hold 20")
    alone.until("is held", is_held)

    holding.vanish()

    alone.server()


def test_a_hold_ends_by_itself_and_the_client_hears_of_it(alone: Host, client: Connect) -> None:
    server, holding = alone.server(), client(alone)
    began = time.monotonic()
    assert "held" in holding.ask("hold 3")
    assert "held" in holding.ask("check")

    alone.until("a new server answers", lambda s: s["server_answers"] and s["server_pid"] != server)

    assert time.monotonic() - began >= 3
    assert holding.ask("check") == {"over": "its time is over"}


@pytest.mark.parametrize("words", ["hold", "hold 31", "hold 0", "hold nan", "held 5"])
def test_a_request_that_makes_no_sense_is_refused_and_the_server_runs_on(
    alone: Host, client: Connect, words: str
) -> None:
    server = alone.server()

    assert client(alone).ask(words) == {"refused": "say hold and up to 30 seconds"}

    assert alone.server() == server


def test_a_second_hold_is_refused_while_the_first_lasts(alone: Host, client: Connect) -> None:
    first = client(alone)
    first.ask("hold 20")

    assert client(alone).ask("hold 20") == {"refused": "somebody else holds it"}

    assert "held" in first.ask("check")


def test_one_hold_may_follow_another(alone: Host, client: Connect) -> None:
    first = client(alone)
    first.ask("hold 20")
    first.vanish()
    alone.server()

    assert "held" in client(alone).ask("hold 20")


def test_a_standby_refuses(pair: MakePair, client: Connect) -> None:
    hosts = pair(lease=LONG_LEASE)
    server = hosts.active.server()

    refused = client(hosts.standby).ask("hold 20")

    assert refused == {"refused": "this host is not the active one"}
    assert hosts.active.server() == server


def test_a_guard_that_ends_while_held_hands_over_at_once(pair: MakePair, client: Connect) -> None:
    hosts = pair(lease=LONG_LEASE)
    holding = client(hosts.active)
    holding.ask("hold 30")
    asked = time.monotonic()

    hosts.active.ask_to_end()

    hosts.standby.until_serving()
    assert time.monotonic() - asked < LONG_LEASE / 2
    assert hosts.active.log().count("started the server") == 1, "not again, just to end it"


def test_a_reload_while_held_starts_nothing_before_the_hold_is_over(
    alone: Host, client: Connect
) -> None:
    holding = client(alone)
    holding.ask("hold 20")
    alone.until("is held", is_held)

    alone.ask_to_reload()

    waiting.throughout("still held", lambda: is_held(alone.status()), 1.0)
    holding.say("release")
    alone.server()
    assert alone.log().count("started the server") == 2, "once is enough"


def held_pair(pair: MakePair, client: Connect) -> tuple[Pair, Client]:
    hosts = pair()
    holding = client(hosts.active)
    holding.ask("hold 30")
    hosts.active.until("is held", is_held)
    return hosts, holding


def test_a_lease_that_is_lost_while_held_ends_the_hold_and_the_other_serves(
    pair: MakePair, client: Connect
) -> None:
    hosts, holding = held_pair(pair, client)

    hosts.active.cut_off_voters()

    hosts.standby.until_serving()
    assert "over" in holding.ask("check")
    assert hosts.active.until_role("standby")["server_pid"] is None


def test_a_fence_that_another_takes_while_held_ends_the_hold(
    pair: MakePair, client: Connect, database: Database
) -> None:
    hosts, holding = held_pair(pair, client)

    database.run("UPDATE fence.holder SET host = 'hs-2', token = token + 1")

    waiting.eventually("over", lambda: "over" in holding.ask("check"))
    hosts.standby.until_serving()


def test_a_long_hold_is_no_hang_and_no_crash(host: MakeHost, client: Connect) -> None:
    alone = host(hung=1.0, start=1.0, lease=LONG_LEASE)
    alone.start()
    alone.until_serving()
    holding = client(alone)
    holding.ask("hold 20")

    waiting.throughout("still held", lambda: "held" in holding.ask("check"), 3.0)

    holding.vanish()
    alone.server()
    assert (alone.role(), alone.status()["restarts"]) == ("active", 0)
