"""The clock of all deadlines."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds since boot. No step of the time of day moves it, and it runs on while the machine
    sleeps, as the lease does in etcd."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
