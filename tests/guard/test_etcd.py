"""Covers what the guard asks of etcd, on real voters, and requests whose answers are lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guard import clock, config
from guard.contest import Contest
from guard.etcd import Entry, Etcd, EtcdError
from lab.world.ports import free_port
from tests.guard import test_config, waiting
from tests.guard.link import Link
from tests.guard.voters import Voters

UNKNOWN = 4711  # no lease has this number


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key of this test alone."""
    return f"/{tmp_path.name}/holder"


@pytest.fixture
def link(voters: Voters) -> Iterator[Link]:
    """A way to one voter."""
    made = Link(voters.each[0].port)
    yield made
    made.end()


def test_only_the_first_creates_a_key(voters: Voters, key: str) -> None:
    first, second = voters.client.grant(60), voters.client.grant(60)

    assert voters.client.create(key, "hs-1", first) is not None
    assert voters.client.create(key, "hs-2", second) is None
    assert voters.client.read(key) == Entry("hs-1", first)


def test_a_key_goes_with_its_lease_and_the_next_revision_is_greater(
    voters: Voters, key: str
) -> None:
    first, second = voters.client.grant(60), voters.client.grant(60)
    before = voters.client.create(key, "hs-1", first)

    voters.client.revoke(first)

    assert voters.client.read(key) is None
    after = voters.client.create(key, "hs-2", second)
    assert before is not None
    assert after is not None
    assert after > before, "it is the fence's token"


def test_a_lease_that_has_ended_is_not_renewed_and_may_be_revoked_again(voters: Voters) -> None:
    lease = voters.client.grant(60)
    assert voters.client.renew(lease)
    voters.client.revoke(lease)

    assert not voters.client.renew(lease)
    voters.client.revoke(lease)


def test_an_unknown_lease_cannot_hold_a_key(voters: Voters, key: str) -> None:
    with pytest.raises(EtcdError, match="lease not found"):
        voters.client.put(key, "hs-1", UNKNOWN)


def test_a_voter_that_is_away_is_passed_over(voters: Voters, key: str) -> None:
    nobody = f"https://127.0.0.1:{free_port()}"
    client = Etcd([nobody, voters.each[0].url], voters.trust)

    assert client.read(key) is None


def test_an_error_names_every_voter_that_was_asked(voters: Voters, key: str) -> None:
    nobody = [f"https://127.0.0.1:{free_port()}" for _ in range(2)]

    with pytest.raises(EtcdError) as refused:
        Etcd(nobody, voters.trust).read(key)

    assert all(f"{url}: " in str(refused.value) for url in nobody)


def test_a_silent_voter_ends_in_an_error_soon(voters: Voters, link: Link, key: str) -> None:
    client = Etcd([f"https://127.0.0.1:{link.port}"], voters.trust)
    client.read(key)
    link.cut()
    asked = clock.now()

    with pytest.raises(EtcdError, match="ReadTimeoutError"):
        client.read(key)

    assert clock.now() - asked < waiting.PATIENCE / 2


def test_a_voter_without_a_quorum_renews_nothing(voters: Voters) -> None:
    lease = voters.client.grant(60)
    alone = Etcd([voters.each[0].url], voters.trust)
    for voter in voters.each[1:]:
        voter.freeze()

    def refuses() -> bool:
        try:
            alone.renew(lease)
        except EtcdError:
            return True
        return False

    waiting.eventually("the leader notices that nobody follows", refuses)


def test_a_key_whose_creation_got_no_answer_is_taken_back_and_won_again(
    voters: Voters, link: Link, tmp_path: Path
) -> None:
    client = Etcd([f"https://127.0.0.1:{link.port}", voters.each[1].url], voters.trust)
    prefix = f"/{tmp_path.name}"
    lease = client.grant(60)
    link.lose_answers()
    won = client.create(f"{prefix}/holder", "hs-1", lease)
    assert won is None, "the second voter only sees that somebody was first"
    assert voters.client.read(f"{prefix}/holder") == Entry("hs-1", lease)
    contest = Contest(config.load(test_config.written(tmp_path, prefix=prefix)), client)

    assert contest.enter(fit=True) is None
    held = contest.enter(fit=True)

    assert held is not None
    assert held.id != lease
    contest.leave(held)
    assert voters.client.read(f"{prefix}/holder") is None
