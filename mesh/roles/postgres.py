"""PostgreSQL's settings for a host of a given size (plan 5.2.1, there for 4 CPUs and 16 GiB)."""

from __future__ import annotations

from typing import Final

from mesh.catalogue import OperatingSystem
from mesh.settings import Settings, Size

VERSIONS: Final[dict[OperatingSystem, int]] = {"debian-12": 15, "ubuntu-22.04": 14}

MAX_CONNECTIONS: Final = 200  # plan 5.2.1
# Of these: the fence ends one host's connections before the other's Headscale starts, so one pool
# (mesh.headscale.POOL) is open at a time. The rest is for whoever repairs something: two guards and
# Patroni on two hosts, the registry, the standby, and 3 that PostgreSQL keeps for its superuser.
OTHERS: Final = 50

_MIB_PER_GIB: Final = 1024

# (ttl, loop_wait, retry_timeout) in seconds. Patroni's lower limit of the ttl is 20. The loop is
# how long a PostgreSQL that died may go unnoticed; it also renews the ttl, so that a lost host is
# noticed up to a loop before the ttl is over, never later.
_TIMINGS: Final = {"fast": (20, 1, 5), "normal": (30, 10, 10)}


def timing(settings: Settings) -> dict[str, int]:
    """How fast Patroni notices a lost primary, in seconds."""
    return dict(
        zip(("ttl", "loop_wait", "retry_timeout"), _TIMINGS[settings.recovery], strict=True)
    )


def memory(size: Size) -> dict[str, str]:
    """What each member decides for itself: shares of the host's memory, and planner costs.

    A quarter is PostgreSQL's own cache; the kernel's cache holds about as much again twice.
    """
    mib = size.memory_gib * _MIB_PER_GIB
    return {
        "shared_buffers": _mib(mib // 4),
        "effective_cache_size": _mib(mib * 3 // 4),
        "maintenance_work_mem": _mib(min(mib // 16, 1024)),
        # 10 MiB at 16 GiB; each of 200 connections may use it more than once.
        "work_mem": _mib(min(max(mib * 10 // (16 * _MIB_PER_GIB), 1), 64)),
        "wal_buffers": _mib(min(mib // 64, 16)),
        "min_wal_size": _mib(min(mib // 16, 1024)),
        "max_wal_size": _mib(min(mib // 4, 4096)),
        "checkpoint_completion_target": "0.9",
        "default_statistics_target": "100",
        "random_page_cost": "1.1",  # cloud disks have no seek time
        "effective_io_concurrency": "200",
        "max_parallel_maintenance_workers": str(max(size.cpus // 2, 1)),
        "max_parallel_workers_per_gather": str(max(size.cpus // 2, 1)),
        "max_parallel_workers": str(size.cpus),
    }


def shared(size: Size) -> dict[str, str]:
    """What both members must agree on, so it lives in etcd; and how a silent peer is noticed."""
    mib = size.memory_gib * _MIB_PER_GIB
    return {
        "max_connections": str(MAX_CONNECTIONS),
        "max_worker_processes": str(max(size.cpus, 4)),
        "max_wal_senders": "5",
        "max_replication_slots": "5",
        "wal_level": "replica",
        "wal_log_hints": "on",  # lets a former primary rewind
        "wal_keep_size": _mib(min(mib // 16, 1024)),
        "hot_standby": "on",
        "wal_sender_timeout": "5s",
        "wal_receiver_timeout": "5s",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "10s",
        "password_encryption": "scram-sha-256",
    }


def _mib(value: int) -> str:
    return f"{value}MB"
