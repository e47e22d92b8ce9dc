"""One drill's record, and the file that keeps them all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FILE: Final = "drills.json"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one drill showed. Seconds count from the fault, unless said otherwise; None means
    that it did not come back while the drill looked.
    """

    fault: str
    at: str  # ISO time
    design: str  # one of the report's
    clients_back_s: float | None  # the slowest client whose entry lived; 0: undisturbed
    clients_on_dead_entry: int  # clients whose connection ran through a host that fell silent
    dead_entry_back_s: float | None  # the slowest of those, before the heal; None without any
    registration_back_s: float | None  # a brand-new client, after writes were back
    writes_back_s: float | None
    writes_gap_s: float  # the longest time without an acknowledged write until the heal
    lost_acknowledged: int
    double_writer_s: float
    lost_pings: int
    whole_again_s: float | None  # from the heal
    acknowledged: int  # writes in all
    failed: str = ""  # what went wrong with the drill itself
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def outsider_s(self) -> float:
        """Seconds in which a host without the fence had a session in a primary."""
        return float(self.details.get("outsider_sessions_s", 0.0))

    @property
    def bad(self) -> bool:
        """Whether the drill failed, lost a write, or let write who must not."""
        wrong = (self.lost_acknowledged, self.double_writer_s, self.outsider_s)
        return bool(self.failed) or any(wrong)


def load(folder: Path) -> list[dict[str, Any]]:
    """All rows that were kept, oldest first."""
    path = folder / FILE
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return rows


def append(folder: Path, record: Record) -> list[dict[str, Any]]:
    """Keep one more row, for good before this returns; all rows."""
    rows = [*load(folder), asdict(record)]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{FILE}.part"
    with part.open("w") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / FILE)
    return rows


def failed(fault: str, design: str, reason: str) -> Record:
    """The record of a drill that could not be carried out."""
    return Record(
        fault=fault,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        design=design,
        clients_back_s=None,
        clients_on_dead_entry=0,
        dead_entry_back_s=None,
        registration_back_s=None,
        writes_back_s=None,
        writes_gap_s=0.0,
        lost_acknowledged=0,
        double_writer_s=0.0,
        lost_pings=0,
        whole_again_s=None,
        acknowledged=0,
        failed=reason,
    )
