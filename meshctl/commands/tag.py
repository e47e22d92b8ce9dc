"""`meshctl tag`: tags by the patterns of policy/tags.yaml."""

from __future__ import annotations

import json as jsons
from typing import Any

import typer

from meshctl import control, options, policy, show

app = typer.Typer(no_args_is_help=True, help="Tags of nodes, by policy/tags.yaml.")


@app.command()
def plan(context: typer.Context, json: options.Json = False) -> None:
    """Which nodes would get other tags."""
    _go(context, "plan", json)


@app.command()
def apply(context: typer.Context, yes: options.Yes = False, json: options.Json = False) -> None:
    """Give the nodes their tags; without --yes the same as `plan`."""
    _go(context, "apply" if yes else "plan", json)
    options.dry_run(yes=yes)


def _go(context: typer.Context, verb: str, json: bool) -> None:
    wanted = jsons.dumps({"tags": policy.tags(options.place(context).policy)})
    told: Any = options.work(
        context, lambda session: control.registry(session, "tags", verb, stdin=wanted)
    )
    if json:
        show.as_json(told)
        return
    rows = [(c["node"], c["id"], c["from"], c["to"]) for c in told["changes"]]
    show.table(("node", "id", "from", "to"), rows, nothing="every node has its tags")
    if told["unmatched"]:
        show.line(f"no pattern for: {', '.join(map(show.words, told['unmatched']))}")
