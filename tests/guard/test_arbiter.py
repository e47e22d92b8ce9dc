"""Covers what an arbiter does to Patroni's key, on real voters: when it acts, and when not.

The decision itself is in test_verdict.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guard import clock
from guard.arbiter import config, duty, patroni
from guard.arbiter.duty import Hand
from guard.arbiter.verdict import FRESH_SECONDS, Look
from guard.config import ConfigError
from lab.world.ports import free_port
from tests.guard import waiting
from tests.guard.hosts import ROOT, World
from tests.guard.link import Link
from tests.guard.members import LEFT_ALONE, Keys, Patroni, Port
from tests.guard.voters import Voters

RULES = {"doubt": 1.0, "unrenewed": 2.0, "silent": 1.0, "lost": 0.3}
LONG = 4  # s; when a lease is so old, an arbiter has had the time to act


class Ground:
    """An arbiter, two members and the keys of their cluster."""

    def __init__(self, world: World, folder: Path) -> None:
        self.voters, self._folder = world.voters, folder
        self.keys = Keys(world.voters, f"/{folder.name}/service")
        self.standby = Patroni(world.server)
        self.ports = [Port() for _ in range(3)]
        self.to_voters = [Link(voter.port) for voter in world.voters.each]
        self._file, self._log = folder / "status", folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.config: dict[str, Any] = {
            "host": "ops-1",
            "endpoints": [f"https://127.0.0.1:{link.port}" for link in self.to_voters],
            "prefix": self.keys.prefix,
            "intent": f"/{folder.name}/intent",
            "ca": world.voters.trust.ca,
            "certificate": world.voters.trust.certificate,
            "key": world.voters.trust.key,
            "patroni": {"pg-1": "https://127.0.0.1:1", "pg-2": self.standby.url},
            "ports": {"pg-1": [port.place for port in self.ports], "pg-2": ["127.0.0.1:1"]},
            "metrics_address": "127.0.0.1",
            "metrics_port": free_port(),
            "status_file": str(self._file),
            "rules": RULES,
        }

    # The arbiter

    def written(self) -> Path:
        file = self._folder / "arbiter.json"
        file.write_text(json.dumps(self.config))
        return file

    def start(self) -> None:
        """Start the arbiter, and wait until it sees that all is well."""
        command = [sys.executable, "-m", "guard.arbiter", str(self.written())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self.until("sees the leader", lambda status: status["reason"] == "pg-1 renews its lease")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process
        return self._process

    def status(self) -> dict[str, Any]:
        return waiting.status(self._file)

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return waiting.until_status(f"the arbiter {what}", self._file, self._log, holds)

    def until_long_doubt(self) -> dict[str, Any]:
        """It could have acted long ago."""
        return self.until("doubts", lambda status: (status["unrenewed_s"] or 0) >= LONG)

    # Its surroundings

    def lose_primary(self) -> None:
        """Its host loses power."""
        for port in self.ports:
            port.fall_silent()
        self.standby.says(**LEFT_ALONE)
        self.keys.stop_renewing()

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for port in self.ports:
            port.end()
        for link in self.to_voters:
            link.end()
        self.standby.end()
        for voter in self.voters.each:
            voter.thaw()
        self.voters.settle()
        self.keys.end()


@pytest.fixture
def ground(world: World, voters: Voters, tmp_path: Path) -> Iterator[Ground]:
    """All is well; the arbiter is not started."""
    made = Ground(world, tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("switched", [False, True], ids=["never switched", "switched once"])
def test_a_lost_primary_loses_its_key_and_the_standby_stays_in_sync(
    ground: Ground, switched: bool
) -> None:
    if switched:
        ground.keys.put("failover", {})  # Patroni does not remove the key
    ground.start()
    before = ground.keys.read("sync")

    ground.lose_primary()

    waiting.eventually("the key is gone", lambda: ground.keys.leader() == "")
    after = ground.keys.read("sync")
    assert before is not None
    assert after == before, "who may be promoted must not change"
    assert after is not None
    assert after.revision > before.revision, "a former leader that wakes must find it changed"
    status = ground.until("tells it", lambda status: status["takeovers"] == 1)
    assert status["last_takeover"].startswith("pg-1 to pg-2 at ")


def test_the_arbiter_leaves_a_healthy_primary_alone(ground: Ground) -> None:
    ground.start()

    waiting.throughout("the key stays", lambda: ground.keys.leader() == "pg-1", 2)

    assert ground.status()["state"] == "watching"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(
            lambda ground: ground.standby.says(**{**LEFT_ALONE, "replication_state": "streaming"}),
            "pg-2 receives from pg-1",
            id="the standby still receives",
        ),
        pytest.param(
            lambda ground: ground.keys.put("sync", {"leader": "pg-1", "sync_standby": None}),
            "pg-2 is not in sync",
            id="the standby is not in sync",
        ),
        pytest.param(
            lambda ground: ground.keys.put("sync", {"leader": "pg-2", "sync_standby": "pg-2"}),
            "pg-2 is not in sync",
            id="it was in sync under another leader",
        ),
        pytest.param(
            lambda ground: ground.keys.put("config", {"synchronous_mode": True, "pause": True}),
            "Patroni is paused",
            id="Patroni is paused",
        ),
        pytest.param(
            lambda ground: ground.keys.put("config", {"ttl": 20}),
            "the database is not synchronous",
            id="the database is not synchronous",
        ),
        pytest.param(
            lambda ground: ground.keys.put("failover", {"leader": "pg-1"}),
            "a switchover was asked for",
            id="a switchover was asked for",
        ),
        pytest.param(
            lambda ground: ground.standby.says(**LEFT_ALONE, failsafe_mode_is_active=True),
            "pg-1 goes on without etcd, and pg-2 has agreed",
            id="the primary goes on without etcd",
        ),
        pytest.param(
            lambda ground: ground.standby.end(), "pg-2 does not answer", id="the standby is gone"
        ),
        pytest.param(
            lambda ground: ground.standby.says(state="stopped", role="replica"),
            "pg-2 may not be promoted",
            id="the standby does not run",
        ),
    ],
)
def test_a_lost_primary_keeps_its_key_when(
    ground: Ground, spoil: Callable[[Ground], None], reason: str
) -> None:
    ground.start()

    ground.lose_primary()
    spoil(ground)

    assert ground.until_long_doubt()["reason"] == reason
    assert ground.keys.leader() == "pg-1"


@pytest.mark.parametrize("lives", ["answers", "refuses"])
def test_a_primary_whose_host_lives_keeps_its_key(ground: Ground, lives: str) -> None:
    """Its Patroni and its PostgreSQL are frozen or dead: that is Patroni's own affair."""
    ground.start()
    first, *others = ground.ports
    if lives == "refuses":
        first.refuse()
    for port in others:
        port.fall_silent()

    ground.standby.says(**LEFT_ALONE)
    ground.keys.stop_renewing()

    assert ground.until_long_doubt()["reason"] == "pg-1 answers, or nobody can tell"
    assert ground.keys.leader() == "pg-1"


def test_a_primary_that_only_the_arbiter_does_not_reach_keeps_its_key(ground: Ground) -> None:
    ground.start()

    for port in ground.ports:
        port.fall_silent()
    ground.standby.says(**LEFT_ALONE)

    waiting.throughout("it renews its lease", lambda: ground.keys.leader() == "pg-1", 3)


def test_an_arbiter_that_is_cut_off_from_every_voter_does_nothing(ground: Ground) -> None:
    ground.start()
    for link in ground.to_voters:
        link.cut()
    ground.until("knows that it is cut off", lambda status: not status["quorum"])

    ground.lose_primary()

    waiting.throughout("the key stays", lambda: ground.keys.leader() == "pg-1", LONG)


def test_an_arbiter_whose_voter_has_no_quorum_does_nothing(ground: Ground) -> None:
    ground.start()
    for voter in ground.voters.each[1:]:
        voter.freeze()

    ground.until("knows that there is no quorum", lambda status: not status["quorum"])
    assert ground.status()["reason"] == "no quorum of etcd answers"

    for voter in ground.voters.each[1:]:
        voter.thaw()
    ground.until("sees again", lambda status: status["reason"] == "pg-1 renews its lease")
    assert ground.keys.leader() == "pg-1"


def test_an_arbiter_that_acted_rests(ground: Ground) -> None:
    ground.start()
    ground.lose_primary()
    waiting.eventually("the key is gone", lambda: ground.keys.leader() == "")

    lease = ground.voters.client.grant(20)
    ground.voters.client.put(f"{ground.keys.prefix}/leader", "pg-1", lease)

    ground.until("is sure again", lambda status: status["state"] == "sure")
    waiting.throughout("the key stays", lambda: ground.keys.leader() == "pg-1", 1)
    ground.voters.client.revoke(lease)


# The last step


@pytest.fixture
def sight(ground: Ground) -> Look:
    """All conditions hold, as the arbiter saw them a moment ago."""
    ground.keys.stop_renewing()

    def seen() -> patroni.Cluster | None:
        found = patroni.cluster(ground.voters.client, ground.keys.prefix)
        return found if found.unrenewed >= RULES["unrenewed"] else None

    found = waiting.eventually("the lease is old", seen)
    return Look(began=clock.now(), ended=clock.now(), cluster=found, standby="pg-2")


@pytest.fixture
def hand(ground: Ground) -> Hand:
    return Hand(config.load(ground.written()))


def test_the_key_goes_while_everything_is_as_it_was(
    ground: Ground, sight: Look, hand: Hand
) -> None:
    assert hand.act(sight)
    assert ground.keys.leader() == ""
    assert ground.voters.client.read(ground.config["intent"]) is None, "it leaves nothing behind"


@pytest.mark.parametrize("key", ["leader", "sync", "config", "failover"])
def test_the_key_stays_when_anything_was_written_meanwhile(
    ground: Ground, sight: Look, hand: Hand, key: str
) -> None:
    before = ground.keys.read(key)
    ground.voters.client.put(f"{ground.keys.prefix}/{key}", before.value if before else "{}", 0)

    assert sight.cluster
    assert not hand._take(sight, 0), "the transaction by itself must refuse"
    assert not hand.act(sight)
    assert ground.keys.leader() == "pg-1"


def test_the_key_stays_when_the_lease_was_renewed_meanwhile(
    ground: Ground, sight: Look, hand: Hand
) -> None:
    ground.voters.client.renew(ground.keys.lease)

    assert not hand.act(sight)
    assert ground.keys.leader() == "pg-1"


def test_an_arbiter_that_slept_before_its_last_step_comes_too_late(
    ground: Ground, sight: Look, hand: Hand
) -> None:
    client, intent = ground.voters.client, ground.config["intent"]
    lease = client.grant(duty.INTENT_SECONDS)
    revision = client.create(intent, "ops-1", lease)
    waiting.eventually("its own key ends", lambda: client.read(intent) is None)

    assert revision is not None
    assert not hand._take(sight, revision)
    assert ground.keys.leader() == "pg-1"


def test_an_old_look_is_not_acted_upon(ground: Ground, sight: Look, hand: Hand) -> None:
    old = Look(began=clock.now() - FRESH_SECONDS - 0.1, ended=0.0, cluster=sight.cluster)

    assert not hand.act(old)
    assert ground.keys.leader() == "pg-1"


def test_of_two_arbiters_only_one_acts(ground: Ground, sight: Look, hand: Hand) -> None:
    client = ground.voters.client
    lease = client.grant(60)
    client.create(ground.config["intent"], "another", lease)

    assert not hand.act(sight)
    assert ground.keys.leader() == "pg-1"
    client.revoke(lease)


# What it tells


def test_prometheus_and_the_file_say_the_same(ground: Ground) -> None:
    ground.start()

    url = f"http://127.0.0.1:{ground.config['metrics_port']}/metrics"
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()

    assert 'mesh_arbiter_state{state="watching"} 1.0' in text
    assert "mesh_arbiter_quorum 1.0" in text
    assert "mesh_arbiter_takeovers_total 0.0" in text
    status = ground.status()
    assert (status["leader"], status["standby"], status["quorum"]) == ("pg-1", "pg-2", True)


def test_an_arbiter_that_is_asked_to_end_does(ground: Ground) -> None:
    ground.start()

    ground.process.send_signal(signal.SIGTERM)

    assert ground.process.wait(waiting.PATIENCE) == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"patroni": {"pg-1": "https://pg-1:8008"}}, "patroni: pg-1: must be two members"),
        ({"ports": {"pg-1": ["pg-1:5432"]}}, "ports: pg-1: must be those of patroni"),
        ({"ports": {"pg-1": [], "pg-2": []}}, "ports: {"),
        ({"rules": {"silence": 1}}, "rules.silence: no such key; there are doubt, unrenewed,"),
        ({"rules": {"doubt": 6}}, "rules.unrenewed: 6: must be more than rules.doubt"),
    ],
)
def test_a_wrong_configuration_is_refused_by_key(
    ground: Ground, changes: dict[str, Any], says: str
) -> None:
    ground.config |= changes
    file = ground.written()

    with pytest.raises(ConfigError) as refused:
        config.load(file)

    assert str(refused.value).startswith(f"{file}: {says}")
