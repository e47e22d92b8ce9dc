"""`meshctl failover` and `switchover`: planned hand-overs of the two roles that one host has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

import typer

from meshctl import handover, options, show
from meshctl.handover import Done, Pair
from meshctl.ssh import Session


def failover(context: typer.Context, yes: options.Yes = False, json: options.Json = False) -> None:
    """Hand Headscale over to the other control host; tunnels go on."""
    question = "Hand Headscale over from {old} to {new}? Joins wait for some seconds."
    _go(context, question, handover.control_pair, handover.hand_over, yes=yes, json=json)


def switchover(
    context: typer.Context, yes: options.Yes = False, json: options.Json = False
) -> None:
    """Make the standby of PostgreSQL the primary, without loss."""
    question = "Make {new} the primary in place of {old}? Writes wait for some seconds."
    _go(context, question, handover.database_pair, handover.switch_over, yes=yes, json=json)


def _go(
    context: typer.Context,
    question: str,
    find: Callable[[Session], Awaitable[Pair]],
    do: Callable[[Session, Pair], Awaitable[Done]],
    *,
    yes: bool,
    json: bool,
) -> None:
    pair = options.work(context, find)
    options.confirm(context, question.format(**asdict(pair)), yes=yes)
    done = options.work(context, lambda session: do(session, pair))
    if json:
        show.as_json({"from": pair.old, "to": pair.new, "seconds": done.seconds})
    else:
        show.line(f"{pair.new} has taken over from {pair.old} within {done.seconds:g} s")
