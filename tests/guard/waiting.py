"""Waiting for a condition, never for a time."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 30.0  # s; what nothing here takes on a machine that is only busy
EACH = 0.02


def eventually(what: str, look: Callable[[], T], within: float = PATIENCE) -> T:
    """The first true value of `look`; a failure tells what was last seen."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {seen!r}")
        time.sleep(EACH)


def throughout(what: str, holds: Callable[[], bool], seconds: float) -> None:
    """A failure as soon as the condition does not hold, within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert holds(), what
        time.sleep(EACH)


def status(file: Path) -> dict[str, Any]:
    """What a guard or an arbiter says of itself; empty before there is a file."""
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return found


def until_status(
    what: str, file: Path, log: Path, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The status in `file` when that holds; a failure shows it and the log."""

    def look() -> dict[str, Any]:
        said = status(file)
        return said if said and holds(said) else {}

    try:
        return eventually(what, look)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{status(file)}\n{log.read_text()}") from None


class Death:
    """Tells when a process ends. It is held by a descriptor, so its number may be used again."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = os.pidfd_open(pid)

    def happened(self, within: float = 0.0) -> bool:
        """Whether it is dead, at most so many seconds from now."""
        return bool(select.select([self._descriptor], [], [], within)[0])

    def time(self) -> float:
        """When it died, on the monotonic clock; to be called while it lives."""
        if not self.happened(PATIENCE):
            raise AssertionError(f"process {self._pid} still lives after {PATIENCE:g} s")
        return time.monotonic()
