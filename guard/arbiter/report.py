"""What the arbiter says of itself: to systemd, to Prometheus, and in one JSON line for people."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import prometheus_client

from guard.arbiter.verdict import Look, Rules, Verdict
from guard.report import Teller

log = logging.getLogger(__name__)

State = Literal["watching", "doubting", "sure"]
STATES: Final[tuple[State, ...]] = ("watching", "doubting", "sure")


@dataclass
class Status:
    """The one line. Times of day are seconds since the epoch; nothing decides by them."""

    host: str
    state: State = "watching"  # doubting: the leader does not renew its lease
    since: float = 0.0  # when the state began
    reason: str = ""  # what speaks first against a takeover
    leader: str = ""
    standby: str = ""
    quorum: bool = False  # whether the arbiter is part of one
    unrenewed_s: float | None = None  # the leader's lease, at least
    resting: bool = False  # after an attempt, it makes no other for a while
    takeovers: int = 0  # by this arbiter, since it started
    last_takeover: str = ""  # from whom, to whom, when
    at: float = 0.0  # when this was written


class ArbiterReport(Teller):
    """The status of an arbiter."""

    def __init__(self, host: str, file: Path) -> None:
        self.status = Status(host, since=time.time())
        self._metrics = _Metrics()
        super().__init__(file, self._metrics.registry)

    def seen(self, look: Look, verdict: Verdict, rules: Rules, *, resting: bool) -> None:
        """What was seen last and what follows."""
        status, cluster = self.status, look.cluster
        status.resting = resting
        status.quorum = cluster is not None
        status.leader = cluster.leader if cluster else ""
        status.standby, status.reason = look.standby, verdict.reason
        status.unrenewed_s = cluster.unrenewed if cluster and cluster.leader else None
        doubts = (status.unrenewed_s or 0.0) >= rules.doubt
        state: State = "sure" if verdict.sure else "doubting" if doubts else "watching"
        if state != status.state:
            log.info("%s: %s", state, verdict.reason)
            status.state, status.since = state, time.time()
            self.news()

    def acted(self, leader: str, standby: str) -> None:
        """The leader's key is gone."""
        log.warning("the key of %s is gone", leader)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.status.takeovers += 1
        self.status.last_takeover = f"{leader} to {standby} at {when}"
        self._metrics.takeovers.inc()
        self.news()

    def said(self) -> dict[str, Any]:
        self.status.at = time.time()
        self._metrics.show(self.status)
        return asdict(self.status)

    def summary(self) -> str:
        return f"{self.status.state}; {self.status.reason}"


class _Metrics:
    def __init__(self) -> None:
        self.registry = made = prometheus_client.CollectorRegistry()
        self._state = prometheus_client.Gauge(
            "mesh_arbiter_state", "1 for the state that it is in.", ["state"], registry=made
        )
        self._quorum = prometheus_client.Gauge(
            "mesh_arbiter_quorum", "Whether a quorum of etcd answers it.", registry=made
        )
        self._unrenewed = prometheus_client.Gauge(
            "mesh_arbiter_unrenewed_seconds",
            "Least time since the leader's lease was renewed; -1 without a leader.",
            registry=made,
        )
        self.takeovers = prometheus_client.Counter(
            "mesh_arbiter_takeovers", "How often it took the leader's key away.", registry=made
        )

    def show(self, status: Status) -> None:
        for state in STATES:
            self._state.labels(state).set(state == status.state)
        self._quorum.set(status.quorum)
        self._unrenewed.set(-1 if status.unrenewed_s is None else status.unrenewed_s)
