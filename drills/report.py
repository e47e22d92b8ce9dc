"""docs/reports/drills.md, from the rows of drills.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from drills.faults import FAULTS, ONLY_ON_REAL_HOSTS
from drills.intervals import percentile

FILE: Final = "drills.md"
Row = Mapping[str, Any]
_TIMES: Final = {
    "clients_back_s": "clients back",
    "registration_back_s": "new client registered",
    "writes_back_s": "writes back",
    "writes_gap_s": "longest write gap",
    "whole_again_s": "whole after the heal",
}
_DESIGNS: Final = {
    "guard": "The mesh as it is: a guard on each control host, lease of 5 s; Patroni with ttl 20, "
    "loop 1, synchronous.",
    "arbiter": "The same with `mesh:arbiter: true`: an arbiter on ops-1 takes the key of a primary "
    "whose host is gone away, instead of waiting for its ttl (decision 10). A drill in which it "
    "acts though it should not is failed.",
    "busy": "The mesh as it is, while a second lab and test runs shared the machine's two cores.",
    "loop-2": "Before: Patroni with loop 2, and a switchover that looked once a second whether the "
    "old primary had ended.",
    "baseline": "For comparison: Headscale as a plain unit with `Restart=always` on hs-1, Patroni "
    "with its defaults (ttl 30, loop 10, asynchronous). Loss of hs-1 waits for an operator, who "
    "is not played: it is never back before the heal.",
}
_HEAD: Final = """\
# Fault drills

`make drill RUNS=20`: faults in a booted lab (`make lab`), two joined clients, writes through the
API every 0.2 s the whole time. Seconds from the fault, p50 / p95 / max by nearest rank; "never"
means not before the heal or the end of the drill's patience. Before each drill and after its heal
everything must be whole. Raw rows: `drills.json`.

- *clients back*: the slowest joined client got a new stream from Headscale that delivers, by
  tailscaled's own counters, sampled every 0.1 s; 0: its stream went on. Clients whose connection
  ran through the entry of a host that fell silent hear nothing and notice late: they are counted
  apart, under *dead entry*, "never" when only the heal brought them back. tailscaled's watchdog
  ends the stream after 120 s, but asks anew on the same dead TCP connection, which the kernel
  gives up after some 15 minutes (`net.ipv4.tcp_retries2`).
- *new client registered*: the first brand-new client that was done after writes were back; one
  takes 2 to 4 s without any fault.
- *writes back*: end of the last gap of more than 1 s between acknowledged writes, of two writers,
  one for each address of the server.
- *lost*: acknowledged writes that were missing at the end, in the API, on the primary or on the
  standby. *two writers*: seconds in which two control hosts each had a Headscale process that
  could run (sampled every 50 ms) and a session in a writable database (every 200 ms). *without
  the fence*: seconds in which a control host that does not hold the fence had a session there,
  such as a frozen server that woke. A drill with any of the three is bad, and ends the run with
  status 1.
"""
_BUYS: Final = """\
## What the design buys

The mesh as it is beside the baseline, which has neither guard nor tuned timings: seconds from the
fault, p50 / p95, of the faults that both were drilled with. In the baseline a fault is healed after
60 s: what came back later than that came back by the heal. Where n is small, p95 is the slowest
drill. Whole tables, goals and what each design is: below.
"""
_BOUGHT: Final = ("clients_back_s", "registration_back_s", "writes_back_s")


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Write the report anew."""
    designs = sorted({str(row["design"]) for row in rows}, key=lambda name: (name != "guard", name))
    parts = [_HEAD, *_bought(rows)]
    parts += [_design(name, [r for r in rows if r["design"] == name]) for name in designs]
    unseen = "\n".join(f"- {what}: {why}." for what, why in ONLY_ON_REAL_HOSTS.items())
    parts.append(f"## Only on real hosts\n\n{unseen}\n")
    (folder / FILE).write_text("\n".join(parts))


def _bought(rows: Sequence[Row]) -> list[str]:
    """Design and baseline side by side; nothing where no fault was drilled in both."""
    lines = []
    for kind, fault in FAULTS.items():
        both = [_drilled(rows, kind, design) for design in ("guard", "baseline")]
        if all(both):
            counts = [str(len(group)) for group in both]
            times = [_halves(group, field) for field in _BOUGHT for group in both]
            lines.append([fault.title, *counts, *times])
    if not lines:
        return []
    heads = [f"{_TIMES[field]}: {of}" for field in _BOUGHT for of in ("design", "baseline")]
    return [_BUYS, _table(["fault", "n: design", "n: baseline", *heads], lines)]


def _drilled(rows: Sequence[Row], kind: str, design: str) -> list[Row]:
    return [row for row in rows if row["fault"] == kind and row["design"] == design]


def _halves(rows: Sequence[Row], field: str) -> str:
    return spread([row[field] for row in rows if _speaks(row, field)], shares=(0.5, 0.95))


def _design(name: str, rows: Sequence[Row]) -> str:
    kinds = [kind for kind in FAULTS if any(row["fault"] == kind for row in rows)]
    groups = {kind: [row for row in rows if row["fault"] == kind] for kind in kinds}
    span = f"{min(row['at'] for row in rows)} to {max(row['at'] for row in rows)}"
    return "\n".join(
        [
            f"## Design: {name}\n",
            f"{_DESIGNS[name]} {len(rows)} drills, {span}.\n",
            _table(
                ["fault", "n", *_TIMES.values(), "missed goals"],
                (
                    [FAULTS[kind].title, str(len(g)), *_times(g), _goals(kind, g)]
                    for kind, g in groups.items()
                ),
            ),
            _table(
                [
                    "fault",
                    "acknowledged",
                    "lost",
                    "two writers, s",
                    "without the fence, s",
                    "lost pings",
                    "dead entry: clients",
                    "dead entry: back",
                    "failed drills",
                ],
                ([FAULTS[kind].title, *_safety(g)] for kind, g in groups.items()),
            ),
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _times(rows: Sequence[Row]) -> list[str]:
    return [spread([row[field] for row in rows if _speaks(row, field)]) for field in _TIMES]


def _speaks(row: Row, field: str) -> bool:
    """Whether a row says something of a field: no client lived where all were on a dead entry."""
    return not row["failed"] and not (field == "clients_back_s" and _all_dead(row))


def spread(values: Sequence[float | None], shares: Sequence[float] = (0.5, 0.95, 1.0)) -> str:
    """p50 / p95 / max, or other shares; what never came back counts as longer than anything."""
    if not values:
        return "–"
    numbers = [float("inf") if value is None else value for value in values]
    found = [percentile(numbers, share) for share in shares]
    return " / ".join("never" if s == float("inf") else f"{s:.1f}" for s in found)


def misses(rows: Sequence[Row], field: str, goal: float) -> int:
    """How many drills did not keep a goal; a failed drill kept none. Clients on a dead entry are
    counted apart.
    """
    return sum(
        bool(row["failed"])
        or (row[field] is None and _speaks(row, field))
        or (row[field] is not None and row[field] > goal)
        for row in rows
    )


def _all_dead(row: Row) -> bool:
    clients = row["details"].get("clients", {})
    return bool(clients) and row["clients_on_dead_entry"] == len(clients)


def _goals(kind: str, rows: Sequence[Row]) -> str:
    goals = FAULTS[kind].goals
    said = [
        f"{_TIMES[field]} < {goal:g}: {misses(rows, field, goal)}" for field, goal in goals.items()
    ]
    dead = sum(row["clients_on_dead_entry"] for row in rows)
    if dead and goals:
        said.append(f"{dead} clients on a dead entry apart")
    return "; ".join(said) or "–"


def _safety(rows: Sequence[Row]) -> list[str]:
    dead = [row["dead_entry_back_s"] for row in rows if row["clients_on_dead_entry"]]
    return [
        str(sum(row["acknowledged"] for row in rows)),
        str(sum(row["lost_acknowledged"] for row in rows)),
        f"{sum(row['double_writer_s'] for row in rows):.1f}",
        f"{sum(row['details'].get('outsider_sessions_s', 0) for row in rows):.1f}",
        spread([row["lost_pings"] for row in rows]),
        str(sum(row["clients_on_dead_entry"] for row in rows)),
        spread(dead),
        str(sum(bool(row["failed"]) for row in rows)),
    ]
