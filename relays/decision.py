"""Which relays leave the map: a pure function of what the probes found and an operator wishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Wish = Literal["in", "out", "auto"]
WISHES: Final[tuple[Wish, ...]] = ("in", "out", "auto")
OPERATOR: Final = "an operator took it out"


@dataclass(frozen=True, kw_only=True)
class Health:
    """For how many seconds a relay has failed or passed; neither without recent results."""

    failing: float | None = None
    passing: float | None = None
    faults: tuple[str, ...] = ()  # what fails: "DERP", "STUN"


@dataclass(frozen=True, kw_only=True)
class Out:
    """Why a relay is not in the map, and since when (UTC, ISO 8601)."""

    since: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """An operator's: for single relays, and how many may be out by themselves at a time."""

    relays: Mapping[str, Wish] = field(default_factory=dict)
    limit: int = 1

    def of(self, relay: str) -> Wish:
        """What is wished for a relay."""
        return self.relays.get(relay, "auto")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of failing until a relay leaves, and of passing until it comes back."""

    away_after: float = 180.0
    back_after: float = 60.0


def decide(
    healths: Mapping[str, Health],
    before: Mapping[str, Out],
    wishes: Wishes,
    timing: Timing,
    at: str,
) -> dict[str, Out]:
    """The relays that are not in the map; `before` is the last decision, `at` is now.

    Of those in `healths` at least one stays, and at most `wishes.limit` leave by themselves.
    """
    named = [relay for relay in healths if wishes.of(relay) == "out"]
    free = [relay for relay in healths if wishes.of(relay) == "auto"]
    ill = sorted(
        (relay for relay in free if relay in before and not _well(healths[relay], timing)),
        key=lambda relay: (before[relay].since, relay),
    )
    by_themselves = [*ill, *_leaving(healths, free, before, wishes, timing)][: wishes.limit]
    # Those that are out already come first: when there is no room for all, nothing swaps.
    chosen = sorted([*named, *by_themselves], key=lambda relay: relay not in before)
    return {
        relay: _entry(before.get(relay), relay in named, healths[relay], at)
        for relay in chosen[: max(len(healths) - 1, 0)]
    }


def sick(healths: Mapping[str, Health], wishes: Wishes) -> bool:
    """Whether so many relays fail at once that the fault must be on this side."""
    judged = [health for relay, health in healths.items() if wishes.of(relay) != "out"]
    return 2 * sum(health.failing is not None for health in judged) > len(judged)


def _well(health: Health, timing: Timing) -> bool:
    return health.passing is not None and health.passing >= timing.back_after


def _leaving(
    healths: Mapping[str, Health],
    free: list[str],
    before: Mapping[str, Out],
    wishes: Wishes,
    timing: Timing,
) -> list[str]:
    """Those that have failed for long enough, the longest first."""
    if sick(healths, wishes):
        return []
    failing = {relay: healths[relay].failing or 0.0 for relay in free if relay not in before}
    gone = [relay for relay, seconds in failing.items() if seconds >= timing.away_after]
    return sorted(gone, key=lambda relay: (-failing[relay], relay))


def _entry(old: Out | None, named: bool, health: Health, at: str) -> Out:
    if named:
        why = OPERATOR
    elif old is None:
        why = f"{' and '.join(health.faults)} failed for {health.failing or 0:.0f} s"
    elif old.why == OPERATOR:
        why = "it has not passed for long enough since an operator let go of it"
    else:
        why = old.why
    return Out(since=old.since if old else at, why=why)
