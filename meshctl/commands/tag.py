"""`meshctl tag`: tags by the patterns of policy/tags.yaml."""

from __future__ import annotations

import json as jsons
from typing import Annotated, Any

import typer

from meshctl import control, options, policy, show

app = typer.Typer(no_args_is_help=True, help="Tags of nodes, by policy/tags.yaml.")


Convert = Annotated[
    bool,
    typer.Option("--convert", help="Nodes of users too: tags take them away from their user."),
]


@app.command()
def plan(context: typer.Context, convert: Convert = False, json: options.Json = False) -> None:
    """Which nodes would get other tags."""
    _go(context, "plan", convert, json)


@app.command()
def apply(
    context: typer.Context,
    convert: Convert = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Give the nodes their tags; without --yes the same as `plan`."""
    _go(context, "apply" if yes else "plan", convert, json)
    options.dry_run(yes=yes)


def _go(context: typer.Context, verb: str, convert: bool, json: bool) -> None:
    wanted = jsons.dumps({"tags": policy.tags(options.place(context).policy)})
    words = ("tags", verb, *(["--convert"] if convert else []))
    told: Any = options.work(
        context, lambda session: control.registry(session, *words, stdin=wanted)
    )
    if json:
        show.as_json(told)
        return
    rows = [(c["node"], c["id"], c["from"], c["to"]) for c in told["changes"]]
    show.table(("node", "id", "from", "to"), rows, nothing="every node has its tags")
    if told["untagged"]:
        show.line(f"of a user, so left alone: {', '.join(map(show.words, told['untagged']))}")
    if told["unmatched"]:
        show.line(f"no pattern for: {', '.join(map(show.words, told['unmatched']))}")
