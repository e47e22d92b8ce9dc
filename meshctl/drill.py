"""Fault drills on a stack that is in use: what one can break by SSH, and what mends itself.

Faults that need the cloud or the network in between (power, partitions, full disks) are drilled on
the lab, where they cost nobody anything: `make drill`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from meshctl import control, facts, faults, verdict, watching, writing
from meshctl.faults import Name
from meshctl.ssh import Session
from meshctl.trouble import MeshctlError
from meshctl.watching import Watch
from meshctl.writing import Writes

BEFORE_SECONDS: Final = 3.0  # of answers, so that a gap is one
CALM_SECONDS: Final = control.STALE_SECONDS + 2  # in which no word of before the fault can hide it
RECENT_SECONDS: Final = 2.0  # without an answer the mesh does not serve
WHOLE_SECONDS: Final = 180.0
LOOK_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Record:
    """One drill. `back_s` is from the fault to the end of the longest gap in service."""

    fault: Name
    at: str
    stack: str
    back_s: float
    gap_s: float
    budget_s: float
    whole_again_s: float
    acknowledged: int  # writes through the API, from before the fault until all was whole
    lost: tuple[str, ...]  # of those, the ones that were not there afterwards

    @property
    def kept(self) -> bool:
        """Whether the gap stayed within its budget, and nothing was lost."""
        return self.gap_s <= self.budget_s and not self.lost


async def run(session: Session, name: Name, stack: str) -> Record:
    """Break one thing, and watch until all is whole again.

    Raises MeshctlError before anything is broken when the mesh is not healthy, or when it is not
    healthy again in time.
    """
    fault = faults.FAULTS[name]
    await _demand_health(session)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    async with (
        writing.key(session) as key,
        Watch(session.mesh) as watch,
        Writes(session.mesh, key) as writes,
    ):
        await asyncio.sleep(BEFORE_SECONDS)
        _demand_answers(session.mesh.server_url, watch, writes)
        began = time.monotonic()
        await fault.inject(session)
        whole = await _await_whole(session, watch, name)
        back, gap = watching.outage(watch.served, began, time.monotonic())
        await writes.stop()
        lost = await writes.missing()
    return Record(
        *(name, at, stack, back, gap, fault.budget),
        whole_again_s=round(whole - began, 1),
        acknowledged=len(writes.acknowledged),
        lost=tuple(sorted(lost)),
    )


async def _demand_health(session: Session) -> None:
    judged = verdict.judge(await facts.gather(session))
    if judged.state != "healthy":
        raise MeshctlError(
            "nothing was broken: the mesh must be healthy before a drill:"
            f" {judged.reasons[0].what}; see `meshctl status`"
        )


def _demand_answers(url: str, watch: Watch, writes: Writes) -> None:
    if not watch.served:
        raise MeshctlError(
            f"nothing was broken: {url}{watching.HEALTH} does not answer this machine, so nothing"
            " could be measured"
        )
    if not writes.acknowledged:
        raise MeshctlError(
            "nothing was broken: the API takes no writes from this machine, so none could be"
            f" looked for: {writes.said}"
        )


async def _await_whole(session: Session, watch: Watch, name: Name) -> float:
    """The time from which on all was well for CALM_SECONDS. Raises MeshctlError."""
    until = time.monotonic() + WHOLE_SECONDS
    since: float | None = None
    while True:
        asked = time.monotonic()
        judged = verdict.judge(await facts.gather(session))
        now = time.monotonic()
        serves = bool(watch.served) and now - watch.served[-1] < RECENT_SECONDS
        if judged.state == "healthy" and serves:
            since = since or asked
            if now - since > CALM_SECONDS:
                return since
        else:
            since = None
        if now > until:
            said = judged.reasons[0].what if judged.reasons else "it does not answer this machine"
            raise MeshctlError(f"after {name} the mesh is not healthy: {said}; `meshctl status`")
        await asyncio.sleep(LOOK_SECONDS)


def keep(folder: Path, record: Record) -> Path:
    """Add it to the stack's report, drills-<stack>.json and .md in `folder`; the latter's path."""
    raw, text = (folder / f"drills-{record.stack}.{kind}" for kind in ("json", "md"))
    rows: list[dict[str, Any]] = json.loads(raw.read_text()) if raw.exists() else []
    rows.append(row(record))
    folder.mkdir(parents=True, exist_ok=True)
    _replace(raw, "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    _replace(text, _report(record.stack, rows))
    return text


def row(record: Record) -> dict[str, Any]:
    """The record as JSON has it."""
    return {**asdict(record), "kept": record.kept}


_HEAD: Final = (
    *("at", "fault", "longest gap, s", "budget, s", "back after, s", "whole after, s"),
    *("acknowledged writes", "lost", "kept"),
)


def _report(stack: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"# Drills of stack {stack}",
        "",
        "`meshctl drill`, the newest first. Longest gap: the longest time in which no address of",
        "the server said that all is well, asked five times a second from where meshctl ran.",
        "Acknowledged writes: users that it created through the API meanwhile, one a second at",
        "each address; lost: those that the API did not know afterwards. Kept: the gap within its",
        "budget, and nothing lost.",
        "",
        f"| {' | '.join(_HEAD)} |",
        f"|{' --- |' * len(_HEAD)}",
        *(f"| {' | '.join(map(str, _cells(row)))} |" for row in reversed(rows)),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    measured = (row["gap_s"], row["budget_s"], row["back_s"], row["whole_again_s"])
    written = (row["acknowledged"], len(row["lost"]), "yes" if row["kept"] else "NO")
    return (row["at"], faults.FAULTS[row["fault"]].title, *measured, *written)


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
