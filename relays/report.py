"""What the watcher tells: one JSON file for `mesh-relays`, one with metrics for Prometheus."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from relays import decision, files
from relays.config import Config
from relays.decision import Health, Out, Wishes
from relays.probes import Run

METRICS: Final = "relays.prom"


def iso(time: float) -> str:
    """A time as people and etcd have it: UTC, ISO 8601."""
    moment = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def status(
    relays: Mapping[str, str],
    runs: Mapping[str, Run],
    healths: Mapping[str, Health],
    out: Mapping[str, Out],
    wishes: Wishes,
    trouble: str,
    now: float,
) -> dict[str, Any]:
    """All that is known; `trouble` is what is in the way of a decision."""
    return {
        "at": iso(now),
        "at_seconds": now,
        "limit": wishes.limit,
        "own_network_sick": decision.sick(healths, wishes),
        "trouble": trouble,
        "relays": [
            {
                "relay": relay,
                "region": region,
                "in_map": relay not in out,
                "since": out[relay].since if relay in out else None,
                "why": out[relay].why if relay in out else None,
                "override": wishes.of(relay),
                "failing_seconds": healths[relay].failing or 0.0,
                "probes": dict(_probes(runs, relay, now)),
            }
            for relay, region in relays.items()
        ],
    }


def _probes(runs: Mapping[str, Run], relay: str, now: float) -> Iterator[tuple[str, object]]:
    for run in runs.values():
        if run.relay == relay:
            yield (
                run.kind,
                {
                    "passed": run.passed,
                    "for_seconds": run.last - run.first,
                    "age_seconds": round(now - run.last, 1),
                },
            )


def tell(config: Config, told: Mapping[str, Any]) -> None:
    """Both files. Raises OSError."""
    files.replace(config.status, json.dumps(told, ensure_ascii=False) + "\n")
    files.replace(Path(config.folder) / METRICS, "\n".join(_metrics(told)) + "\n")


def _metrics(told: Mapping[str, Any]) -> Iterator[str]:
    gauges = {
        "mesh_relay_in_map": ("Whether clients are told of the relay.", "in_map"),
        "mesh_relay_failing_seconds": (
            "For how long its DERP or STUN probe has failed; 0 when neither does.",
            "failing_seconds",
        ),
    }
    for name, (text, key) in gauges.items():
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} gauge"
        for relay in told["relays"]:
            yield f'{name}{{relay="{relay["relay"]}"}} {float(relay[key]):g}'
