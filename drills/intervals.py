"""Arithmetic of samples over time: gaps, overlaps, percentiles. Pure; all times are seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Interval = tuple[float, float]


def held(samples: Sequence[tuple[float, bool]], longest: float) -> list[Interval]:
    """When a state held: each true sample counts until the next one, for at most `longest`."""
    found: list[Interval] = []
    ends = [*(at for at, _ in samples[1:]), math.inf]
    for (at, true), end in zip(samples, ends, strict=True):
        if true:
            found.append((at, min(end, at + longest)))
    return merged(found)


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time without overlaps, in order."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def common(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """The time that is in both."""
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in one for b in other)
    return merged((start, end) for start, end in pairs if start < end)


def within(intervals: Iterable[Interval], start: float, end: float) -> list[Interval]:
    """The part of the intervals between two times."""
    return common(list(intervals), [(start, end)])


def total(intervals: Iterable[Interval]) -> float:
    """How long they are together."""
    return sum(end - start for start, end in intervals)


@dataclass(frozen=True)
class Outage:
    """How long something that should come again and again did not come.

    `back` is from the fault to the end of the last gap, 0 without a gap, None while it lasts.
    `longest` is the longest gap.
    """

    back: float | None
    longest: float


def outage(times: Sequence[float], fault: float, until: float, now: float, least: float) -> Outage:
    """What `times` (sorted) show between the fault and `until`. A gap is longer than `least`;
    it counts when some of it lies there. What comes after `until` may still end one.
    """
    moments = [time for time in times if time <= now]
    ends = [*moments[1:], now] if moments else [now]
    starts = moments or [fault]
    gaps = [
        (start, end)
        for start, end in zip(starts, ends, strict=True)
        if end - start > least and end > fault and start < until
    ]
    if not gaps:
        return Outage(0.0, 0.0)
    longest = max(end - start for start, end in gaps)
    still = gaps[-1][1] == now and now not in moments
    return Outage(None if still else gaps[-1][1] - fault, longest)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that `share` (0 to 1) of all do not
    exceed. ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    rank = max(1, math.ceil(share * len(values) - 1e-9))
    return sorted(values)[rank - 1]
