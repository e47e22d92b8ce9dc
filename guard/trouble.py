"""A fault that lasts is told when it begins, now and then, and when it ends."""

from __future__ import annotations

import logging
from typing import Final

from guard import clock

log = logging.getLogger("guard")

AGAIN_SECONDS: Final = 60.0


class Trouble:
    """Of one kind; `what` begins each line. For use by one thread."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told: float | None = None  # when last, while it lasts

    def is_there(self, why: object) -> None:
        """It has just been met, perhaps not for the first time."""
        if self._told is None or clock.now() - self._told > AGAIN_SECONDS:
            log.warning("%s: %s", self._what, why)
            self._told = clock.now()

    def is_over(self) -> None:
        """It has just not been met."""
        if self._told is not None:
            log.info("%s: well again", self._what)
            self._told = None
