"""What every command has: where the mesh is found, and options that mean the same everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from meshctl import show, stack
from meshctl.ssh import Session
from meshctl.stack import Mesh
from meshctl.trouble import MeshctlError

T = TypeVar("T")

OK: Final = 0
FOUND: Final = 1  # something to see to: degraded, faults, strays
DOWN: Final = 2  # of `status`
NOT_DONE: Final = 3
WRONG_USE: Final = 64  # as sysexits(3)

Json = Annotated[bool, typer.Option("--json", help="The same as one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; nobody is asked.")]


@dataclass(frozen=True)
class Place:
    """Which mesh is meant; `project` holds Pulumi.yaml and policy/."""

    stack: str
    outputs: str | None
    project: Path

    @cached_property
    def mesh(self) -> Mesh:
        """Read once: standard input cannot be read again. Raises MeshctlError."""
        return stack.load(self.stack, self.outputs, self.project)

    @property
    def policy(self) -> Path:
        """What operators edit."""
        return self.project / "policy"


def place(context: typer.Context) -> Place:
    """The one that the command line names."""
    found = context.obj
    assert isinstance(found, Place)
    return found


def work(context: typer.Context, job: Callable[[Session], Awaitable[T]]) -> T:
    """What `job` gives, with connections to the mesh. Raises MeshctlError."""
    mesh = place(context).mesh

    async def run() -> T:
        async with Session(mesh) as session:
            return await job(session)

    return asyncio.run(run())


def confirm(context: typer.Context, question: str, *, yes: bool) -> None:
    """Return when the operator agrees. Raises MeshctlError."""
    if yes:
        return
    if place(context).outputs == "-":
        raise MeshctlError("standard input holds the outputs, nobody can be asked; give --yes")
    if not typer.confirm(question, err=True):
        raise MeshctlError("nothing was done, as you wished")


def dry_run(*, yes: bool) -> None:
    """Say so."""
    if not yes:
        show.note("nothing was changed; --yes does it")
