"""When the arbiter is sure that the primary's host is gone: a pure decision over what was seen.

Everything has to speak for it at once, and silence has to last. One sign of life and the count
begins anew, as it does whenever the arbiter itself did not see for a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from guard.arbiter.knock import Answer
from guard.arbiter.patroni import Cluster, Word

FRESH_SECONDS: Final = 2.5  # a look that took longer, or came later after another, proves nothing


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Seconds, for a Patroni with ttl 20, loop_wait 1, retry_timeout 5; see decision 10."""

    doubt: float = 2.0  # loop_wait + 1: a lease that is renewed never gets so old; look closer
    unrenewed: float = 6.0  # loop_wait + retry_timeout: a Patroni that lives has given up by then
    silent: float = 4.0  # no port of the host has answered for so long
    lost: float = 0.5  # the standby, too, has received nothing, at two looks
    rest: float = 30.0  # after an attempt: whatever is wrong then, another makes no better


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen at one time. Times are those of `guard.clock`."""

    began: float
    ended: float
    cluster: Cluster | None  # None: no quorum answered
    knocks: Mapping[str, Answer] = field(default_factory=dict)  # at the leader's ports, if any
    standby: str = ""  # the other member
    word: Word | None = None  # of the standby, if it was asked and answered


@dataclass(frozen=True)
class Verdict:
    """Whether the leader's key may go; `reason` says why, or what speaks against it first."""

    sure: bool
    reason: str


class Case:
    """The evidence so far against one leader."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._last: Look | None = None
        self._silent_since: float | None = None
        self._lost_since: float | None = None

    def hear(self, look: Look) -> Verdict:
        """What follows from everything up to this look; looks come in the order of time."""
        against = _objection(look)
        renewed = look.cluster is not None and look.cluster.unrenewed < self._rules.doubt
        if against or renewed or not self._goes_on(look):
            self._silent_since = self._lost_since = None
        self._last = look
        if against or look.cluster is None:
            return Verdict(sure=False, reason=against)
        word, answers = look.word, set(look.knocks.values())
        silent = answers == {"silent"} and not renewed
        lost = word is not None and word.ready and not word.streaming and not renewed
        self._silent_since = _since(self._silent_since, silent, look.began)
        self._lost_since = _since(self._lost_since, lost, look.began)
        return self._weigh(look, look.cluster)

    def _goes_on(self, look: Look) -> bool:
        """Whether it is about the same as the last look, and follows closely."""
        last = self._last
        return (
            last is not None
            and last.cluster is not None
            and look.cluster is not None
            and last.cluster.revisions == look.cluster.revisions
            and 0 <= look.began - last.ended < FRESH_SECONDS
        )

    def _weigh(self, look: Look, cluster: Cluster) -> Verdict:
        rules, leader = self._rules, cluster.leader
        silent, lost = (
            -1.0 if since is None else look.began - since
            for since in (self._silent_since, self._lost_since)
        )
        against = {
            f"{leader} renews its lease": cluster.unrenewed < rules.doubt,
            f"{leader} answers, or nobody can tell": silent < 0,
            f"{look.standby} does not answer": look.word is None,
            f"{look.standby} may not be promoted": look.word is not None and not look.word.ready,
            f"{look.standby} receives from {leader}": lost < 0,
            f"{leader}'s lease is {cluster.unrenewed:g} s old": cluster.unrenewed < rules.unrenewed,
            f"{leader} is silent for {silent:.1f} s": silent < rules.silent,
            f"{look.standby} receives nothing for {lost:.1f} s": lost < rules.lost,
        }
        first = next((reason for reason, holds in against.items() if holds), "")
        return Verdict(not first, first or f"{leader} is gone")


def _objection(look: Look) -> str:
    """What speaks against it whatever else was seen; empty when nothing does."""
    cluster, word = look.cluster, look.word
    if cluster is None:
        return "no quorum of etcd answers"
    if not cluster.leader:
        return "nobody leads"
    if look.ended - look.began > FRESH_SECONDS:
        return "looking took too long"
    if not cluster.synchronous:
        return "the database is not synchronous"
    if cluster.in_sync != (look.standby,):
        return f"{look.standby or 'no standby'} is not in sync"
    if cluster.paused:
        return "Patroni is paused"
    if cluster.planned:
        return "a switchover was asked for"
    if word is not None and word.failsafe:
        return f"{cluster.leader} goes on without etcd, and {look.standby} has agreed"
    return ""


def _since(before: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before
