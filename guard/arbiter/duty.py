"""What an arbiter does: look, decide, act, rest. One thread, one look at a time."""

from __future__ import annotations

import logging
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from guard import clock
from guard.arbiter import patroni
from guard.arbiter.config import Config
from guard.arbiter.knock import knock
from guard.arbiter.patroni import Cluster, Members
from guard.arbiter.report import ArbiterReport
from guard.arbiter.verdict import FRESH_SECONDS, Case, Look
from guard.etcd import Etcd, EtcdError, Trust
from guard.trouble import Trouble

log = logging.getLogger(__name__)

EACH_SECONDS: Final = 0.5  # between two looks
INTENT_SECONDS: Final = 2  # the shortest lease that etcd grants; an attempt takes milliseconds


class Eyes:
    """Sees what an arbiter has to know."""

    def __init__(self, wanted: Config) -> None:
        self._config = wanted
        self._etcd = Etcd(wanted.endpoints, _trust(wanted))
        self._members = Members(wanted.patroni, wanted.ca)
        self._pool = ThreadPoolExecutor(1, "knock")
        self._trouble = Trouble("etcd")

    def look(self) -> Look:
        """What is so now. While the leader renews its lease, only etcd is asked: a knock makes
        a line in the log of whoever hears it.
        """
        began = clock.now()
        try:
            cluster = patroni.cluster(self._etcd, self._config.prefix)
        except EtcdError as error:
            self._trouble.is_there(error)
            return Look(began=began, ended=clock.now(), cluster=None)
        self._trouble.is_over()
        standby = self._standby(cluster)
        if cluster.unrenewed < self._config.rules.doubt or not standby:
            return Look(began=began, ended=clock.now(), cluster=cluster, standby=standby)
        knocks = self._pool.submit(knock, self._config.ports[cluster.leader])
        word = self._members.word(standby)
        return Look(
            began=began,
            knocks=knocks.result(),
            ended=clock.now(),
            cluster=cluster,
            standby=standby,
            word=word,
        )

    def _standby(self, cluster: Cluster) -> str:
        """The other member; empty when the leader is none that the arbiter knows."""
        members = self._config.patroni
        return next((m for m in members if m != cluster.leader and cluster.leader in members), "")


class Hand:
    """Takes the leader's key away."""

    def __init__(self, wanted: Config) -> None:
        self._config = wanted
        self._etcd = Etcd(wanted.endpoints, _trust(wanted))

    def act(self, look: Look) -> bool:
        """Whether the key is gone by this, under all the conditions that the look saw. Raises
        EtcdError when that is not known.

        An arbiter that sleeps on the way comes too late: its own key, which the transaction asks
        for, has ended by then.
        """
        lease = self._etcd.grant(INTENT_SECONDS)
        try:
            intent = self._etcd.create(self._config.intent, self._config.host, lease)
            return intent is not None and self._still(look) and self._take(look, intent)
        finally:
            self._forget(lease)

    def _forget(self, lease: int) -> None:
        try:
            self._etcd.revoke(lease)
        except EtcdError as error:
            log.info("the intent will run out by itself: %s", error)

    def _still(self, look: Look) -> bool:
        """Whether etcd says the same again, a moment later."""
        if look.cluster is None or clock.now() - look.began > FRESH_SECONDS:
            return False
        now = patroni.cluster(self._etcd, self._config.prefix)
        same = now.revisions == look.cluster.revisions
        return same and now.unrenewed >= self._config.rules.unrenewed

    def _take(self, look: Look, intent: int) -> bool:
        """Also sets the key "sync" to what it is. A former leader that has read it before, and
        would go on without the standby, is thereby refused: its standby may be leading by then.
        """
        cluster, prefix = look.cluster, self._config.prefix
        if cluster is None:
            return False
        unchanged = {f"{prefix}/{key}": revision for key, revision in cluster.revisions.items()}
        return self._etcd.remove(
            f"{prefix}/leader",
            unchanged={**unchanged, self._config.intent: intent},
            touched={f"{prefix}/sync": cluster.sync_value},
        )


def _trust(wanted: Config) -> Trust:
    return Trust(ca=wanted.ca, certificate=wanted.certificate, key=wanted.key)


class Arbiter:
    """Looks, decides, acts, and rests after an attempt. One thread."""

    def __init__(self, wanted: Config, report: ArbiterReport) -> None:
        self._rules, self._report = wanted.rules, report
        self._eyes, self._hand = Eyes(wanted), Hand(wanted)
        self._case = Case(wanted.rules)
        self._tried: float | None = None  # when last
        # What a signal handler may fill while the same thread waits for it.
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()

    def stop(self) -> None:
        """No look begins any more; may be called from a signal handler."""
        self._over.put(None)

    def run(self) -> None:
        """Returns when it was stopped."""
        while not self._stopped_within(EACH_SECONDS):
            self.turn()

    def _stopped_within(self, seconds: float) -> bool:
        try:
            self._over.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    def turn(self) -> None:
        """One look, and what follows from it."""
        look = self._eyes.look()
        verdict = self._case.hear(look)
        self._report.beat()
        resting = self._rests()
        self._report.seen(look, verdict, self._rules, resting=resting)
        if verdict.sure and not resting:
            self._act(look)

    def _rests(self) -> bool:
        return self._tried is not None and clock.now() - self._tried < self._rules.rest

    def _act(self, look: Look) -> None:
        self._tried = clock.now()
        leader = look.cluster.leader if look.cluster else ""
        log.warning("%s is gone: %s may take over", leader, look.standby)
        try:
            done = self._hand.act(look)
        except EtcdError as error:
            log.warning("not known whether that was done: %s", error)
            return
        if done:
            self._report.acted(leader, look.standby)
        else:
            log.info("not done: something has changed meanwhile")
