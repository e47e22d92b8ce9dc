"""Fault drills on a stack that is in use: what one can break by SSH, and what mends itself.

Faults that need the cloud or the network in between (power, partitions, full disks) are drilled on
the lab, where they cost nobody anything: `make drill`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from meshctl import facts, handover, verdict, watching
from meshctl.ssh import Session
from meshctl.trouble import MeshctlError
from meshctl.watching import Watch

BEFORE_SECONDS: Final = 3.0  # of answers, so that a gap is one
CALM_SECONDS: Final = 5.0  # of answers after it
WHOLE_SECONDS: Final = 180.0
LOOK_SECONDS: Final = 2.0

KILL_SERVER: Final = "sudo pkill -KILL --exact headscale"
KILL_PRIMARY: Final = (
    "sudo sh -c 'kill -KILL $(head -n1 /var/lib/postgresql/*/mesh/postmaster.pid)'"
)


@dataclass(frozen=True)
class Fault:
    """What is done, and how long nobody may be served then; seconds, as in docs/reports."""

    title: str
    inject: Callable[[Session], Awaitable[object]]
    budget: float


@dataclass(frozen=True)
class Record:
    """One drill. `back_s` is from the fault to the end of the longest gap in service."""

    fault: str
    at: str
    stack: str
    back_s: float
    gap_s: float
    budget_s: float
    whole_again_s: float
    kept: bool  # whether the gap stayed within its budget


async def _kill_server(session: Session) -> None:
    pair = await handover.control_pair(session)
    await session.ask(pair.old, KILL_SERVER)


async def _kill_primary(session: Session) -> None:
    pair = await handover.database_pair(session)
    await session.ask(pair.old, KILL_PRIMARY)


async def _hand_over(session: Session) -> None:
    await handover.hand_over(session, await handover.control_pair(session))


async def _switch_over(session: Session) -> None:
    await handover.switch_over(session, await handover.database_pair(session))


Name = Literal["server-killed", "failover", "primary-killed", "switchover"]

FAULTS: Final[dict[Name, Fault]] = {
    "server-killed": Fault("Headscale killed (SIGKILL)", _kill_server, 4),
    "failover": Fault("planned hand-over of Headscale", _hand_over, 3),
    "primary-killed": Fault("the PostgreSQL primary killed (SIGKILL)", _kill_primary, 4),
    "switchover": Fault("planned switchover of PostgreSQL", _switch_over, 2),
}


async def run(session: Session, name: Name, stack: str) -> Record:
    """Break one thing, and watch until all is whole again.

    Raises MeshctlError before anything is broken when the mesh is not healthy, or when it is not
    healthy again in time.
    """
    fault = FAULTS[name]
    await _await_healthy(session, 0, "nothing was broken: the mesh must be healthy before a drill")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    async with Watch(session.mesh) as watch:
        await asyncio.sleep(BEFORE_SECONDS)
        if not watch.served:
            raise MeshctlError(
                f"nothing was broken: {session.mesh.server_url}{watching.HEALTH} does not answer"
                " this machine, so nothing could be measured"
            )
        began = time.monotonic()
        await fault.inject(session)
        await _await_healthy(session, WHOLE_SECONDS, f"after {name} the mesh is not healthy")
        whole = time.monotonic() - began
        await asyncio.sleep(CALM_SECONDS)
        back, gap = watching.outage(watch.served, began, time.monotonic())
    return Record(
        name, at, stack, back, gap, fault.budget, round(whole, 1), kept=gap <= fault.budget
    )


async def _await_healthy(session: Session, within: float, otherwise: str) -> None:
    until = time.monotonic() + within
    while True:
        judged = verdict.judge(await facts.gather(session))
        if judged.state == "healthy":
            return
        if time.monotonic() > until:
            raise MeshctlError(f"{otherwise}: {judged.reasons[0].what}; see `meshctl status`")
        await asyncio.sleep(LOOK_SECONDS)


def keep(folder: Path, record: Record) -> Path:
    """Add it to the stack's report, drills-<stack>.json and .md in `folder`; the latter's path."""
    raw, text = (folder / f"drills-{record.stack}.{kind}" for kind in ("json", "md"))
    rows: list[dict[str, Any]] = json.loads(raw.read_text()) if raw.exists() else []
    rows.append(asdict(record))
    folder.mkdir(parents=True, exist_ok=True)
    _replace(raw, "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    _replace(text, _report(record.stack, rows))
    return text


def _report(stack: str, rows: Sequence[dict[str, Any]]) -> str:
    head = ("at", "fault", "longest gap, s", "budget, s", "back after, s", "whole after, s", "kept")
    lines = [
        f"# Drills of stack {stack}",
        "",
        "`meshctl drill`: the longest time in which no address of the server said that all is",
        "well, asked five times a second from where meshctl ran; the newest first.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
    ]
    for row in reversed(rows):
        cells = (
            row["at"],
            FAULTS[row["fault"]].title,
            row["gap_s"],
            row["budget_s"],
            row["back_s"],
        )
        kept = "yes" if row["kept"] else "NO"
        lines.append(f"| {' | '.join(map(str, (*cells, row['whole_again_s'], kept)))} |")
    return "\n".join(lines) + "\n"


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
