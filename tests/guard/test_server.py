"""Covers what the active guard does for a server that ends, hangs, or cannot live."""

from __future__ import annotations

import os
import signal

from tests.guard import waiting
from tests.guard.conftest import MakeHost, MakePair


def test_a_killed_server_is_started_again_under_the_same_lease(host: MakeHost) -> None:
    alone = host()
    alone.start()
    first = alone.until_serving()
    token = alone.token()

    os.kill(first, signal.SIGKILL)

    alone.until("a new server", lambda status: status["server_pid"] not in (None, first))
    assert alone.server() != first
    assert (alone.role(), alone.token()) == ("active", token)
    assert alone.status()["restarts"] == 1


def test_a_server_that_hangs_is_killed_and_started_again(host: MakeHost) -> None:
    alone = host(hung=1.5)
    alone.start()
    first = alone.until_serving()
    death, token = waiting.Death(first), alone.token()

    os.kill(first, signal.SIGSTOP)

    assert death.happened(within=waiting.PATIENCE)
    alone.until("a new server", lambda status: status["server_pid"] not in (None, first))
    alone.until_serving()
    assert (alone.role(), alone.token()) == ("active", token)


def test_a_server_that_never_answers_is_killed_after_its_starting_time(host: MakeHost) -> None:
    alone = host(start=1.0)
    alone.config["command"] = ["/bin/sleep", "1000"]

    alone.start()

    alone.until("was started again", lambda status: status["restarts"] > 0)


def test_a_crash_loop_gives_the_lease_to_the_other_host(pair: MakePair) -> None:
    hosts = pair()
    hosts.active.break_server()

    os.kill(hosts.active.server(), signal.SIGKILL)

    hosts.standby.until_serving()
    hosts.active.until("says why", lambda status: "again and again" in status["reason"])


def test_a_crash_loop_without_another_host_is_tried_again_but_not_at_once(host: MakeHost) -> None:
    alone = host(lease=3)
    alone.break_server()
    alone.start()

    alone.until("has given up", lambda status: "again and again" in status["reason"])

    waiting.throughout("a breath", lambda: alone.role() == "standby", 1.5)
    alone.until("has tried again", lambda status: status["takeovers"] >= 2)


def test_a_server_that_ignores_the_request_to_end_is_killed(host: MakeHost) -> None:
    alone = host(stop=0.5)
    alone.start()
    pid = alone.until_serving()
    server = waiting.Death(pid)
    os.kill(pid, signal.SIGSTOP)  # then it cannot even hear SIGTERM

    alone.ask_to_end()

    assert server.happened(within=waiting.PATIENCE)
    assert alone.guard.wait(waiting.PATIENCE) == 0
