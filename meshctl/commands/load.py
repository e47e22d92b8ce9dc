"""`meshctl load`: virtual nodes on a stack that nobody works with, and what they cost."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from meshctl import options, show
from meshctl.load import stage, trial
from meshctl.load.stage import Order
from meshctl.load.trial import Row
from meshctl.trouble import MeshctlError

CEILING: Final = 1000  # what the plan asks for

Nodes = Annotated[int, typer.Argument(min=1, max=CEILING, help="How many.")]
Wave = Annotated[int, typer.Option(min=1, help="How many join together.")]
Rest = Annotated[float, typer.Option(min=1, help="Seconds at rest; keep-alives come each minute.")]


def load(
    context: typer.Context,
    nodes: Nodes,
    wave: Wave = 100,
    rest: Rest = 60,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Let virtual nodes join, measure, and remove them: exit 1 when one saw the wrong peers."""
    _refuse_protected(context)
    place = options.place(context)
    order = Order(nodes=nodes, wave=wave, rest=rest, program=stage.program(place.project))
    question = (
        f"Put {nodes} virtual nodes on stack {place.stack}, and remove them again? A rule is added"
        " to its policy for a moment."
    )
    options.confirm(context, question, yes=yes)
    tell = _silent if json else _tell
    rows = options.work(context, lambda session: stage.run(session, order, tell))
    if json:
        show.as_json([trial.kept(row) for row in rows])
    raise typer.Exit(options.FOUND if any(row.faults for row in rows) else options.OK)


def _refuse_protected(context: typer.Context) -> None:
    """Return where nobody's nodes are. Raises MeshctlError."""
    place = options.place(context)
    if place.mesh.protect is None:
        raise MeshctlError(
            f"the outputs of stack {place.stack} do not say whether it is protected (mesh:protect);"
            " `pulumi up` with this version adds it"
        )
    if place.mesh.protect:
        raise MeshctlError(
            f"stack {place.stack} is protected (mesh:protect: true in"
            f" stacks/Pulumi.{place.stack}.yaml), so people work with it; a load belongs on one"
            " with mesh:protect: false"
        )


def _silent(row: Row) -> None:
    """All is told at the end."""


def _tell(row: Row) -> None:
    known = {name: value for name, value in row.figures.items() if value or name == "lacking"}
    show.line(f"{row.phase}: {', '.join(f'{name} {value:.4g}' for name, value in known.items())}")
    for fault in row.faults:
        show.note(f"  {fault}")
