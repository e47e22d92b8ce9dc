"""`meshctl drill`: breaks one thing of a running stack on purpose, and measures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from meshctl import drill as drills
from meshctl import faults, options, show

_REPORTS: Final = Path("docs/reports")

Name = Annotated[faults.Name, typer.Argument(help="What to break.")]
Folder = Annotated[Path, typer.Option("--report", help="Where the report is kept.")]


def drill(
    context: typer.Context,
    fault: Name,
    report: Folder = _REPORTS,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Break one thing that mends itself, and measure from here.

    Exit 1 when nobody was served for longer than the budget, or an acknowledged write is lost.
    """
    chosen, stack = faults.FAULTS[fault], options.place(context).stack
    question = f"{chosen.title}, on stack {stack}, now? Joins wait for some seconds."
    options.confirm(context, question, yes=yes)
    record = options.work(context, lambda session: drills.run(session, fault, stack))
    path = drills.keep(report, record)
    if json:
        show.as_json(drills.row(record))
    else:
        show.line(
            f"{chosen.title}: no service for {record.gap_s:g} s at most (budget {record.budget_s:g}"
            f" s), all whole after {record.whole_again_s:g} s; {len(record.lost)} of"
            f" {record.acknowledged} acknowledged writes lost; {path}"
        )
    raise typer.Exit(options.OK if record.kept else options.FOUND)
