"""`meshctl addresses`: nodes in the ranges of their groups."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshctl import control, options, show

app = typer.Typer(no_args_is_help=True, help="Addresses of nodes, by the stack's mesh:addresses.")


@app.command()
def plan(context: typer.Context, json: options.Json = False) -> None:
    """Which nodes would move, and which have no place."""
    _show(_ask(context, "plan"), json)


@app.command()
def apply(context: typer.Context, yes: options.Yes = False, json: options.Json = False) -> None:
    """Move them: Headscale is away for a moment; without --yes the same as `plan`."""
    told = _ask(context, "apply" if yes else "plan")
    _show(told, json)
    if "moved" in told and not json:
        show.line(f"{told['moved']} moved, Headscale was away for {told['pause_s']} s")
        if told.get("undo"):
            show.line(f"the way back: meshctl addresses undo {told['undo']} --yes")
    options.dry_run(yes=yes)


@app.command()
def undo(
    context: typer.Context,
    which: Annotated[str | None, typer.Argument(metavar="ID", help="Default: the last.")] = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Put the addresses of an `apply` back."""
    what = which or "the last apply"
    options.confirm(context, f"Put the addresses before {what} back?", yes=yes)
    told = _ask(context, "undo", *([which] if which else []))
    if json:
        show.as_json(told)
    else:
        show.line(f"{told.get('moved', 'all')} put back")


def _ask(context: typer.Context, *words: str) -> Any:
    return options.work(context, lambda session: control.registry(session, "addresses", *words))


def _show(told: dict[str, Any], json: bool) -> None:
    if json:
        show.as_json(told)
        return
    rows = [(m["node"], m["id"], m["from"], m["to"], m["range"]) for m in told["moves"]]
    show.table(("node", "id", "from", "to", "range"), rows, nothing="every node has its address")
    for stray in told["strays"]:
        show.line(f"stray: {stray['node']}: {stray['why']}")
    for full in told["full"]:
        show.line(f"full: {show.words(full)}")
