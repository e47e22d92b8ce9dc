"""What Patroni says: in etcd, of the whole cluster, and by its REST API, of one member."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

from guard.etcd import Entry, Etcd, EtcdError

ANSWER_SECONDS: Final = 1.0
_NOTHING: Final = ("", "{}")  # what a switchover leaves behind in its key when it is done
_KEYS: Final = ("leader", "sync", "config", "failover")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a quorum of etcd holds, all of one revision."""

    leader: str  # the member that leads; empty when none does
    unrenewed: float  # the leader's lease was not renewed for at least so many seconds
    in_sync: tuple[str, ...]  # members that have all that this leader acknowledged
    synchronous: bool  # a write is acknowledged only when the standby has it
    paused: bool
    planned: bool  # a switchover or failover was asked for
    revisions: Mapping[str, int] = field(default_factory=dict)  # that set each key; 0: not there
    sync_value: str = ""  # of the key "sync", as it stands there


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a member says of itself."""

    ready: bool  # a running standby that may be promoted
    streaming: bool  # it receives what the primary writes
    failsafe: bool  # a primary without etcd has asked it lately whether it may go on


def cluster(etcd: Etcd, prefix: str) -> Cluster:
    """What etcd holds under a prefix such as /service/mesh. Raises EtcdError, also for what
    Patroni would not write.
    """
    found = dict(zip(_KEYS, etcd.read_all([f"{prefix}/{key}" for key in _KEYS]), strict=True))
    leader, sync, failover = found["leader"], found["sync"], found["failover"]
    try:
        shared = _object(found["config"])
        state = _object(sync)
    except ValueError as error:
        raise EtcdError(f"{prefix}: {error}") from None
    name = leader.value if leader else ""
    standbys = str(state.get("sync_standby") or "") if state.get("leader") == name else ""
    return Cluster(
        leader=name,
        unrenewed=_unrenewed(etcd, leader.lease) if leader else 0.0,
        in_sync=tuple(standby for standby in standbys.split(",") if standby),
        synchronous=shared.get("synchronous_mode") is True,
        paused=bool(shared.get("pause")),
        planned=failover is not None and failover.value not in _NOTHING,
        revisions={key: entry.revision if entry else 0 for key, entry in found.items()},
        sync_value=sync.value if sync else "",
    )


def _unrenewed(etcd: Etcd, lease: int) -> float:
    """etcd rounds what remains down, so a second less is certain. An elected leader of etcd
    gives each lease its whole time and one second again: that only errs on the safe side.
    """
    left = etcd.remaining(lease)
    return float(max(0, left.granted - left.seconds - 1)) if left.granted else 0.0


def _object(entry: Entry | None) -> dict[str, Any]:
    found = json.loads(entry.value) if entry else {}
    if not isinstance(found, dict):
        raise ValueError(f"{found!r} is no object")
    return found


class Members:
    """Asks members for their status."""

    def __init__(self, urls: Mapping[str, str], ca: str) -> None:
        self._urls = urls
        self._pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED",
            ca_certs=ca,
            timeout=urllib3.Timeout(total=ANSWER_SECONDS),
            retries=False,
        )

    def word(self, name: str) -> Word | None:
        """What a member says now; None when it says nothing of use."""
        try:
            answer = self._pool.request("GET", f"{self._urls[name]}/patroni")
            return heard(json.loads(answer.data))
        except (urllib3.exceptions.HTTPError, ValueError):
            return None


def heard(status: Mapping[str, Any]) -> Word:
    """The status of a member, understood. While PostgreSQL does not answer Patroni, its state
    is another than running.
    """
    ready = status.get("state") == "running" and status.get("role") == "replica"
    kept = status.get("tags", {}).get("nofailover") or status.get("pause")
    return Word(
        ready=ready and not kept,
        streaming=status.get("replication_state") == "streaming",
        failsafe=bool(status.get("failsafe_mode_is_active")),
    )
