"""`meshctl policy`: who may reach what: the files here, and what the live server has."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshctl import control, options, policy, show
from meshctl.trouble import MeshctlError

app = typer.Typer(no_args_is_help=True, help="The access policy, here and on the live server.")


@app.command()
def check(context: typer.Context, json: options.Json = False) -> None:
    """What is wrong with the files under policy/; asks no host. Exit 1 with faults."""
    folder = options.place(context).policy
    found = policy.faults(folder)
    if json:
        show.as_json({"faults": found})
    else:
        for line in found or [f"{folder}: nothing wrong"]:
            show.line(line)
    raise typer.Exit(options.FOUND if found else options.OK)


@app.command()
def report(
    context: typer.Context,
    live: Annotated[
        bool, typer.Option("--live", help="What these files would change on the live server.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Who reaches what by the files under policy/."""
    wanted = policy.text(options.place(context).policy)
    if live:
        told = _ask(context, "show")
        opens, closes = policy.difference(told["text"], wanted)
        _show_changes(opens, closes, json)
        return
    reached = policy.reach(wanted)
    if json:
        show.as_json(reached)
        return
    rows = [(source, to, ports) for source in reached for to, ports in reached[source].items()]
    show.table(("source", "reaches", "with"), rows)


def _show_changes(opens: list[str], closes: list[str], json: bool) -> None:
    if json:
        show.as_json({"opens": opens, "closes": closes})
        return
    for line in opens:
        show.line(f"opens   {line}")
    for line in closes:
        show.line(f"closes  {line}")
    if not opens and not closes:
        show.line("the live server has the same")


@app.command("show")
def show_policy(
    context: typer.Context,
    version: Annotated[int | None, typer.Argument(min=1, help="Default: the current.")] = None,
    json: options.Json = False,
) -> None:
    """The text that the live server has, or had."""
    told = _ask(context, *(("show",) if version is None else ("get", str(version))))
    if json:
        show.as_json(told)
        return
    show.line(told["text"].rstrip("\n"))
    since = f", set {show.moment(told['set_at'])}" if told.get("set_at") else ""
    show.note(f"version {told['version']}{since}")


@app.command()
def history(context: typer.Context, json: options.Json = False) -> None:
    """The versions that the live server had, newest first."""
    told = _ask(context, "history")
    if json:
        show.as_json(told)
        return
    rows = [
        (v["version"], show.moment(v["set_at"]), v["sha256"][:12], v["note"])
        for v in told["versions"]
    ]
    show.table(("version", "set", "sha256", "note"), rows)


@app.command()
def rollback(
    context: typer.Context,
    version: Annotated[int | None, typer.Argument(min=1, help="Default: the one before.")] = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Set an earlier version; `pulumi up` sets the one of the files again."""
    what = "the one before" if version is None else f"version {version}"
    options.confirm(context, f"Set {what}, for everybody, now?", yes=yes)
    told = _ask(context, "rollback", *([] if version is None else [str(version)]))
    if version is not None and told["version"] != version:
        raise MeshctlError(f"asked for version {version}, the server has {told['version']} now")
    if json:
        show.as_json(told)
        return
    show.line(f"version {told['version']} is set, in place of {told['from']}")
    show.note("put policy/ right as well: the next `pulumi up` sets what is there")


def _ask(context: typer.Context, *words: str) -> Any:
    return options.work(context, lambda session: control.registry(session, "policy", *words))
