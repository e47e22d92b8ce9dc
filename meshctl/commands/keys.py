"""`meshctl keys`: by which keys nodes join; a key itself is shown by `keys show` only."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from meshctl import control, options, show
from meshctl.trouble import MeshctlError

app = typer.Typer(no_args_is_help=True, help="Pre-auth keys and API keys, by name.")


@app.command("list")
def list_keys(context: typer.Context, json: options.Json = False) -> None:
    """Every key's name, age and state; never the key."""
    told = _ask(context, "list")
    if json:
        show.as_json(told)
        return
    rows = [
        (kind, k["name"], k["id"], k["state"], k.get("used"), *_times(k), _handed(k))
        for kind, group in (("join", told["keys"]), ("API", told["api_keys"]))
        for k in group
    ]
    heads = ("kind", "name", "id", "state", "used", "created", "rotates", "expires", "handed out")
    show.table(heads, rows)


@app.command()
def rotate(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also those not due by age.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    json: options.Json = False,
) -> None:
    """Make new keys for those that are due; the old ones work until they expire."""
    flags = [*(["--force"] if force else []), *(["--dry-run"] if dry_run else [])]
    told = _ask(context, "rotate", *(names or []), *flags)
    if json:
        show.as_json(told)
        return
    show.line(f"{'would be rotated' if dry_run else 'rotated'}: {show.words(told['rotated'])}")
    show.line(f"kept: {show.words(told['kept'])}")


@app.command("show")
def show_key(
    context: typer.Context,
    name: str,
    file: Annotated[
        Path | None, typer.Option(help="Write it there instead, a new file of mode 600.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Hand one key over: to standard output, or into a file. One that `policy/keys.yaml` hands out
    by file goes into a file only, and once; the mesh notes to whom.
    """
    if file is None:
        told = _ask(context, "show", name)
        if json:
            show.as_json(told)
            return
        show.line(told["key"])
    else:
        # Before the key is asked for: it must have a place to go.
        told = _into(file, lambda: _ask(context, "show", name, "--to", _operator()))
    show.note(f"{told['name']} expires {show.moment(told['expires'])}")


def _into(file: Path, ask: Any) -> dict[str, Any]:
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise MeshctlError(f"--file {file}: {error.strerror}; name a new file") from None
    done = False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            told: dict[str, Any] = ask()
            target.write(told["key"] + "\n")
        done = True
        return told
    finally:
        if not done:
            file.unlink()


def _operator() -> str:
    """Who asks, for people to read; it proves nothing."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _handed(key: dict[str, Any]) -> str:
    """How, and to whom: nobody else can have a key that goes into a file."""
    if key.get("hand_out") != "file":
        return "with the outputs"
    handed = key.get("handed")
    return f"{show.moment(handed['at'])} to {handed['to']}" if handed else "not yet"


def _times(key: dict[str, Any]) -> tuple[str, ...]:
    return tuple(show.moment(key.get(name)) for name in ("created", "rotates", "expires"))


def _ask(context: typer.Context, *words: str) -> Any:
    return options.work(context, lambda session: control.registry(session, "keys", *words))
