"""What a control host carries, and how Headscale and its entry are set for it.

Everything follows from the host's size and the number of nodes that the stack expects. What a
constant says was measured is in docs/guides/capacity.md, with date and machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_NODES: Final = 5000  # five times what was ever tried: beyond it nothing is known

# Clients give up a connection that is not through after 10 s, and come again. Within half of that
# a storm of all of them has to be let in.
STORM_SECONDS: Final = 5
# A small mesh gains nothing from waiting.
LEAST_ARRIVALS: Final = 100
# What the entry may hold of one client at once: its stream, and the next one while it changes over.
CONNECTIONS_EACH: Final = 2
_CONNECTION_KIB: Final = 60  # of HAProxy for one client, both sides and TLS
# Every connection takes two file descriptors of the unit's 65536.
_MOST_CONNECTIONS: Final = 30000

# What the workers do not take is left to registrations and to the streams themselves. On two CPUs a
# thousand nodes joined with 342 CPU seconds and one worker, with 385 and two.
_WORKERS_SHARE: Final = (3, 4)  # of the CPUs
# For how long changes are collected. A worker that is behind collects for longer by itself, and
# what is new with several peers is one message: a longer delay only makes news late.
_DELAY_MS: Final = 800
# A stream whose queue is full for 50 ms is cut. With the default of 30 healthy ones were, 7 to 57 a
# run; with 2000, at 300 nodes, none, and with 4000 none of a thousand. A node that joins makes four
# changes (it is added, is online, tells its endpoints, tells its relay), which a release as it is
# tells one by one.
_LEAST_QUEUE: Final = 2000
_CHANGES_EACH: Final = 4
_SLOT_BYTES: Final = 8
_QUEUES_SHARE: Final = 16  # of the memory: the queues of all nodes may take one part in so many
# Changes to nodes are gathered for 500 ms or until there are so many, and then all peers are worked
# out anew, on one CPU: 0.8 s of it with 1000 nodes. A client that comes back makes two changes, so
# a storm of 1000 in hundreds would be twenty times that.
_LEAST_BATCH: Final = 100
# A login that a person has begun: the default of 1024 would push out the first of a thousand.
_LEAST_LOGINS: Final = 1024
_LOGINS_EACH: Final = 2

# What the system, the guard and the proxies' own needs leave to nobody else.
_OTHERS_MIB: Final = 512
_MIB_PER_GIB: Final = 1024

Build = Literal["patched", "stock"]
# Milliseconds of one CPU until a change of the policy has reached everybody, for each peer that
# somebody has, on two CPUs that the proxies and the load tool shared. Ours: 1000 nodes with 200,000
# peers took 11.6 s. The release as it is works each pair out anew: 100 nodes with 2,700 peers took
# 4.1 s, and 300 with 24,000 never came to an end.
ENTRY_MS: Final[Mapping[Build, float]] = {"patched": 0.12, "stock": 3.0}
# Until when a change of the policy has to have reached everybody.
POLICY_SECONDS: Final = 15


class Tuning(BaseModel):
    """Headscale's tuning; what is not set follows from the host's size and expected_nodes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batcher_workers: int | None = Field(
        default=None, description="Workers that make what nodes are told.", ge=1, le=256
    )
    batch_delay_ms: int | None = Field(
        default=None,
        description="Milliseconds that changes are collected; the least that news takes.",
        ge=100,
        le=10000,
    )
    queue: int | None = Field(
        default=None,
        description="Messages that may wait for one node before its stream is cut.",
        ge=30,
        le=100000,
    )


def workers(cpus: int, chosen: Tuning) -> int:
    """How many workers make what nodes are told."""
    part, whole = _WORKERS_SHARE
    return chosen.batcher_workers or max(cpus * part // whole, 1)


def delay_ms(chosen: Tuning) -> int:
    """For how long changes are collected, in milliseconds."""
    return chosen.batch_delay_ms or _DELAY_MS


def queue(memory_gib: int, nodes: int, chosen: Tuning) -> int:
    """How many messages may wait for one node; Headscale takes the memory for them at once."""
    room = memory_gib * 2**30 // _QUEUES_SHARE // _SLOT_BYTES // nodes
    return chosen.queue or min(max(_CHANGES_EACH * nodes, _LEAST_QUEUE), room)


def headscale(cpus: int, memory_gib: int, nodes: int, chosen: Tuning) -> dict[str, Any]:
    """The section `tuning` of Headscale's configuration.

    What is not in it keeps Headscale's default, for lack of a measurement that asks for another
    one: for how long changes to nodes are gathered (node_store_batch_timeout, 500 ms) and a login
    waits for its person (register_cache_expiration, 15 min).
    """
    return {
        "batcher_workers": workers(cpus, chosen),
        "batch_change_delay": f"{delay_ms(chosen)}ms",
        "node_mapsession_buffered_chan_size": queue(memory_gib, nodes, chosen),
        "node_store_batch_size": max(nodes, _LEAST_BATCH),
        "register_cache_max_entries": max(_LOGINS_EACH * nodes, _LEAST_LOGINS),
    }


def connections(memory_gib: int) -> int:
    """How many clients the entry serves at once: 2000 for each GiB, at some 60 KiB each."""
    return min(2000 * memory_gib, _MOST_CONNECTIONS)


def arrivals(nodes: int) -> int:
    """How many new connections a second the entry takes; the others wait in the kernel's queue."""
    return max(math.ceil(nodes / STORM_SECONDS), LEAST_ARRIVALS)


def memory_limit_mib(memory_gib: int) -> int:
    """Memory at which Headscale begins to collect harder (GOMEMLIMIT), rather than have the kernel
    kill it: the host's without a full entry and the rest, but half of it at least."""
    mib = memory_gib * _MIB_PER_GIB
    entry = connections(memory_gib) * _CONNECTION_KIB // 1024
    return max(mib - entry - _OTHERS_MIB, mib // 2)


def carried(cpus: int, chosen: Tuning, build: Build) -> int:
    """How many peers all nodes together may have, so that a change of the policy reaches everybody
    in time: each pair that may meet counts twice."""
    left_ms = POLICY_SECONDS * 1000 - delay_ms(chosen)
    return int(cpus * left_ms / ENTRY_MS[build])
