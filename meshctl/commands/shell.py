"""`meshctl ssh`: a shell on a host, or one command."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from meshctl import options, shell


def ssh(
    context: typer.Context,
    host: Annotated[str, typer.Argument(help="Such as hs-1.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND...]")] = None,
) -> None:
    """A shell on a host, or one command there; the exit status is the command's."""
    mesh = options.place(context).mesh
    raise typer.Exit(asyncio.run(shell.run(mesh, host, command or [])))
