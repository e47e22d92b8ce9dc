"""A fleet that lives: nodes go and come, and what the server takes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Final

from meshctl.load import plan
from meshctl.load.trial import Row, Trial

_FIRST: Final = 5000  # number of the first node that comes; those before have lower ones
_HOUR: Final = 3600.0


def run(trial: Trial, seconds: float, share: float) -> Iterator[Row]:
    """Replace a share of the nodes an hour, one after another, for so long. Who went first comes
    back last, under another name.
    """
    began = time.monotonic()
    pause = _HOUR / (len(trial.joined) * share)
    for number in count():
        due = began + number * pause
        if due - began > seconds:
            return
        trial.tool.wait_quiet(due, 0.001, max(due - time.monotonic(), 0))
        old = trial.joined[0]
        row = trial.replace(old, plan.member(old.kind, _FIRST + number))
        yield replace(row, figures={**row.figures, "elapsed_s": time.monotonic() - began})
