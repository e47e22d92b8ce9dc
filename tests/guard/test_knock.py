"""Covers how a host that is gone is told from one that lives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guard import clock
from guard.arbiter.knock import knock
from tests.guard.members import Port


@pytest.fixture
def ports() -> Iterator[list[Port]]:
    """Three ports that answer."""
    made = [Port() for _ in range(3)]
    yield made
    for port in made:
        port.end()


def test_a_port_that_accepts_or_refuses_lives_and_one_that_says_nothing_is_silent(
    ports: list[Port],
) -> None:
    answering, refusing, silent = ports
    refusing.refuse()
    silent.fall_silent()

    assert knock([port.place for port in ports], 0.3) == {
        answering.place: "alive",
        refusing.place: "alive",
        silent.place: "silent",
    }


def test_all_places_are_asked_side_by_side(ports: list[Port]) -> None:
    for port in ports:
        port.fall_silent()
    began = clock.now()

    answers = knock([port.place for port in ports], 0.5)

    assert set(answers.values()) == {"silent"}
    assert clock.now() - began < 1.2


@pytest.mark.parametrize("place", ["no-such-host.invalid:2379", "255.255.255.255:2379"])
def test_what_fails_on_this_host_proves_nothing(place: str) -> None:
    assert knock([place], 0.2) == {place: "unknown"}
