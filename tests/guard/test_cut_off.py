"""Covers faults between a host, the voters and the database. The main rule: a server is dead
while etcd still holds the other host off."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.guard import waiting
from tests.guard.conftest import MakeHost, MakePair
from tests.guard.hosts import Host
from tests.guard.voters import Voters

ROUNDS = 4


def last_held(voters: Voters, host: Host) -> float:
    """When etcd was last asked and still said that the host holds the lease."""
    key, last = f"{host.config['prefix']}/holder", 0.0
    while True:
        asked = time.monotonic()
        entry = voters.client.read(key)
        if entry is None or entry.value != host.name:
            return last
        last = asked
        time.sleep(waiting.EACH)


def server_dies_before_the_lease(voters: Voters, host: Host, pid: int) -> None:
    """To be called when the host has just been cut off from the voters."""
    with ThreadPoolExecutor(2) as both:
        death = both.submit(waiting.Death(pid).time)
        held = both.submit(last_held, voters, host)
        ahead = held.result() - death.result()
    assert ahead > 0, f"the server lived {-ahead:.2f} s longer than its lease"


def test_a_server_cut_off_from_the_voters_is_dead_before_another_can_start(
    pair: MakePair, voters: Voters
) -> None:
    hosts = pair()
    for turn in range(ROUNDS):
        pid = hosts.active.until_serving()
        renew = hosts.active.config["timing"]["renew"]
        time.sleep(turn / ROUNDS * renew)  # cut at another point between two renewals

        hosts.active.cut_off_voters()

        server_dies_before_the_lease(voters, hosts.active, pid)
        hosts.standby.until_serving()
        hosts.active.until_role("standby")
        hosts.active.heal()
        hosts = hosts.swapped()
        hosts.standby.until("reaches the database", lambda status: status["database"])


def test_a_server_that_does_not_end_on_request_is_still_dead_before_its_lease(
    pair: MakePair, voters: Voters
) -> None:
    """The guard is asked to end, and can no longer renew, while its server takes its time."""
    hosts = pair(stop=5.0)
    pid = hosts.active.until_serving()
    os.kill(pid, signal.SIGSTOP)

    hosts.active.cut_off_voters()
    hosts.active.ask_to_end()

    server_dies_before_the_lease(voters, hosts.active, pid)


def test_a_database_that_keeps_the_fence_waiting_does_not_delay_the_kill(
    pair: MakePair, voters: Voters
) -> None:
    hosts = pair(database=30.0, lease=4)
    pid = hosts.active.until_serving()
    database = hosts.active.world.database
    session = database.connect("postgres")
    session.autocommit = False
    database.run("UPDATE fence.holder SET host = 'none', token = 1")
    session.cursor().execute("SELECT FROM fence.holder FOR UPDATE")
    waiting.eventually("the fence is being taken", lambda: database.waits_for_a_lock())

    hosts.active.cut_off_voters()

    server_dies_before_the_lease(voters, hosts.active, pid)
    session.close()


def test_a_database_that_falls_silent_does_not_delay_the_kill(
    pair: MakePair, voters: Voters
) -> None:
    hosts = pair()
    pid = hosts.active.until_serving()

    hosts.active.cut_off_database()
    hosts.active.cut_off_voters()

    server_dies_before_the_lease(voters, hosts.active, pid)


def test_no_server_lives_without_a_quorum(pair: MakePair, voters: Voters) -> None:
    hosts = pair()
    server = waiting.Death(hosts.active.until_serving())

    for voter in voters.each:
        voter.freeze()

    assert server.happened(within=waiting.PATIENCE)
    hosts.active.until_role("standby")
    for voter in voters.each:
        voter.thaw()
    waiting.eventually(
        "one serves again", lambda: "active" in (hosts.active.role(), hosts.standby.role())
    )


@pytest.mark.parametrize("which", ["the leader", "a follower"])
def test_one_silent_voter_costs_nothing(host: MakeHost, voters: Voters, which: str) -> None:
    alone = host(lease=4)
    alone.start()
    pid, since = alone.until_serving(), alone.status()["since"]
    leader = voters.leader()
    followers = [voter for voter in voters.each if voter is not leader]

    (leader if which == "the leader" else followers[0]).freeze()

    lease = alone.config["timing"]["lease"]
    waiting.throughout("stays active", lambda: alone.role() == "active", 1.3 * lease)
    assert (alone.status()["since"], alone.server()) == (since, pid)


def test_one_way_to_one_voter_is_enough(host: MakeHost) -> None:
    alone = host()
    alone.start()
    pid, since = alone.until_serving(), alone.status()["since"]

    alone.cut_off_voters(but=1)

    lease = alone.config["timing"]["lease"]
    waiting.throughout("stays active", lambda: alone.role() == "active", 1.3 * lease)
    assert (alone.status()["since"], alone.server()) == (since, pid)


def test_a_host_that_alone_cannot_reach_the_database_hands_over(pair: MakePair) -> None:
    hosts = pair()

    hosts.active.cut_off_database()

    hosts.standby.until_serving()
    hosts.active.until("says why", lambda status: "only this host" in status["reason"])


def test_nobody_hands_over_when_no_host_reaches_the_database(pair: MakePair) -> None:
    hosts = pair()
    pid = hosts.active.until_serving()

    for one in (hosts.active, hosts.standby):
        one.cut_off_database()

    hosts.active.until("has noticed", lambda status: not status["database"])
    hosts.standby.until("has noticed", lambda status: not status["database"])
    waiting.throughout("stays active", lambda: hosts.active.role() == "active", 6.0)
    assert hosts.active.server() == pid
