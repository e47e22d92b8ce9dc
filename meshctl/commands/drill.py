"""`meshctl drill`: breaks one thing of a running stack on purpose, and measures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from meshctl import drill as drills
from meshctl import options, show

_REPORTS: Final = Path("docs/reports")

Name = Annotated[drills.Name, typer.Argument(help="What to break.")]
Folder = Annotated[Path, typer.Option("--report", help="Where the report is kept.")]


def drill(
    context: typer.Context,
    fault: Name,
    report: Folder = _REPORTS,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Break one thing that mends itself, and measure from here: exit 1 when it took too long."""
    chosen, stack = drills.FAULTS[fault], options.place(context).stack
    question = f"{chosen.title}, on stack {stack}, now? Joins wait for some seconds."
    options.confirm(context, question, yes=yes)
    record = options.work(context, lambda session: drills.run(session, fault, stack))
    path = drills.keep(report, record)
    if json:
        show.as_json(asdict(record))
    else:
        show.line(
            f"{chosen.title}: no service for {record.gap_s:g} s at most (budget {record.budget_s:g}"
            f" s), all whole after {record.whole_again_s:g} s; {path}"
        )
    raise typer.Exit(options.OK if record.kept else options.FOUND)
