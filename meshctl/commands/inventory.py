"""`meshctl users`, `nodes`, `names`: who and what is in the mesh."""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any

import typer

from meshctl import control, options, show


def users(context: typer.Context, json: options.Json = False) -> None:
    """Users, whether policy/users.yaml declares them, and their nodes."""
    told = options.work(context, lambda session: control.registry(session, "users"))
    if json:
        show.as_json(told)
        return
    rows = [(u["name"], u["id"], u["declared"], u["nodes"]) for u in told["users"]]
    show.table(("user", "id", "declared", "nodes"), rows)


def nodes(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name, * stands for anything.")] = "*",
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag, such as tag:prod.")] = None,
    online: Annotated[bool | None, typer.Option("--online/--offline")] = None,
    json: options.Json = False,
) -> None:
    """The nodes of the mesh."""
    told = options.work(context, lambda session: control.registry(session, "nodes"))
    found = [
        node
        for node in told["nodes"]
        if fnmatch.fnmatchcase(node["name"], name)
        and user in (None, node["user"])
        and (tag is None or tag in node["tags"])
        and online in (None, node["online"])
    ]
    if json:
        show.as_json({"nodes": found})
        return
    head = ("node", "id", "user", "tags", "address", "online", "last seen", "expires")
    show.table(head, [_node(node) for node in found])


def _node(node: dict[str, Any]) -> tuple[object, ...]:
    seen, expiry = show.moment(node["last_seen"]), show.moment(node["expiry"])
    owner = None if node["tags"] else node["user"]
    return (
        *(node["name"], node["id"], owner, node["tags"], node["ipv4"]),
        *(node["online"], seen, expiry),
    )


def names(context: typer.Context, json: options.Json = False) -> None:
    """Nodes whose names or addresses follow no rule; exit 1 when there are some."""
    told = options.work(context, lambda session: control.registry(session, "addresses", "plan"))
    strays = told["strays"]
    if json:
        show.as_json({"strays": strays})
    else:
        show.table(("node", "why"), [(s["node"], s["why"]) for s in strays], nothing="no strays")
    raise typer.Exit(options.FOUND if strays else options.OK)
