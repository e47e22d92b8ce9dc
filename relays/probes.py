"""What derpprobe finds, read from its metrics, and for how long each probe has said the same.

It names the last result of each probe and when that ended. Time is counted between results only:
without new ones nothing grows worse or better, and old ones are no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from relays.decision import Health

# Of the probes these say whether clients are served. The third, "tls", fails for what is not the
# relay's fault: a certificate with six days left, a list of revoked ones that cannot be fetched, a
# resolver that is away. A certificate that clients refuse fails "derp_mesh".
ESSENTIAL: Final = {"derp_mesh": "DERP", "derp_udp": "STUN"}
# s; four probes. Results further apart say nothing of the time between them.
STALE: Final = 60.0

_METRIC: Final = re.compile(r"^derpprobe_(result|end_secs)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class Result:
    """The last of one probe."""

    name: str  # "derp/sh/902a/902a/mesh"
    relay: str  # "sh"
    kind: str  # "derp_mesh"
    passed: bool
    end: float  # seconds since the epoch


@dataclass(frozen=True, kw_only=True)
class Run:
    """Results of one probe that follow each other and are alike."""

    relay: str
    kind: str
    passed: bool
    first: float
    last: float


def results(metrics: str) -> list[Result]:
    """The results in the text of /debug/varz; probes that have never ended are not there."""
    labels: dict[str, dict[str, str]] = {}
    values: dict[str, dict[str, float]] = {}
    for metric, text, value in _METRIC.findall(metrics):
        found = dict(_LABEL.findall(text))
        if "region" in found:  # the probe of the map itself has none
            labels[found["name"]] = found
            values.setdefault(found["name"], {})[metric] = float(value)
    return [
        Result(
            name=name,
            relay=labels[name]["region"],
            kind=labels[name]["class"],
            passed=value["result"] == 1,
            end=value["end_secs"],
        )
        for name, value in values.items()
        if value.keys() == {"result", "end_secs"}
    ]


def advance(runs: Mapping[str, Run], found: Iterable[Result]) -> dict[str, Run]:
    """The runs, by name of the probe, with what was found now."""
    return {**runs, **{result.name: _next(runs.get(result.name), result) for result in found}}


def _next(run: Run | None, result: Result) -> Run:
    alike = run is not None and run.passed == result.passed
    if run is not None and alike and 0 <= result.end - run.last <= STALE:
        return replace(run, last=result.end)
    return Run(
        relay=result.relay,
        kind=result.kind,
        passed=result.passed,
        first=result.end,
        last=result.end,
    )


def health(runs: Mapping[str, Run], relay: str, now: float) -> Health:
    """What the recent results say of a relay at a time."""
    recent = [
        run
        for run in runs.values()
        if run.relay == relay and run.kind in ESSENTIAL and now - run.last <= STALE
    ]
    bad = [run for run in recent if not run.passed]
    if bad:
        faults = sorted({ESSENTIAL[run.kind] for run in bad})
        return Health(failing=max(run.last - run.first for run in bad), faults=tuple(faults))
    if {run.kind for run in recent} < ESSENTIAL.keys():
        return Health()
    return Health(passing=min(run.last - run.first for run in recent))
