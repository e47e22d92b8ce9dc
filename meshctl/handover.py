"""Planned hand-overs: Headscale to the other control host, PostgreSQL to its standby."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from meshctl import control, facts, verdict
from meshctl.control import Guard
from meshctl.ssh import Session
from meshctl.trouble import HostError, MeshctlError

T = TypeVar("T")

TAKES_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.5
SWITCH_SECONDS: Final = 120.0
STOP: Final = "sudo systemctl stop mesh-guard.service"
START: Final = "sudo systemctl start mesh-guard.service"
# If this machine or its connection dies in between, the host starts its guard by itself.
_TIMER: Final = "mesh-handover"
SAFETY: Final = (
    f"sudo systemd-run --quiet --unit={_TIMER} --on-active=120 {START.removeprefix('sudo ')}"
)
CALM: Final = f"sudo systemctl stop {_TIMER}.timer"


@dataclass(frozen=True)
class Pair:
    """Who has the role, and who is to have it."""

    old: str
    new: str


@dataclass(frozen=True)
class Done:
    """A hand-over that went well, and how long nobody had the role, at most."""

    pair: Pair
    seconds: float


async def control_pair(session: Session) -> Pair:
    """The active control host and a standby that is ready. Raises MeshctlError."""
    told = await control.guards(session)
    serving = [name for name, one in told.items() if isinstance(one, Guard) and one.serves]
    ready = [name for name, one in told.items() if isinstance(one, Guard) and one.ready]
    if len(serving) != 1 or not ready:
        raise MeshctlError(
            "nothing was done: a hand-over needs one active control host and a standby that reaches"
            " the primary; see `meshctl status`"
        )
    return Pair(serving[0], ready[0])


async def hand_over(session: Session, pair: Pair) -> Done:
    """Headscale moves; the old host's guard stands by again. Raises MeshctlError."""
    await session.ask(pair.old, SAFETY)
    began = time.monotonic()
    try:
        await session.ask(pair.old, STOP)
        serves = await _until(lambda: _guard(session, pair.new), lambda one: one.serves)
        seconds = time.monotonic() - began
    finally:
        await _start_again(session, pair.old)
    if not serves:
        raise MeshctlError(
            f"{pair.new} did not take over within {TAKES_SECONDS:g} s; the guard of {pair.old} runs"
            " again. See `meshctl status`"
        )
    if not await _until(lambda: _guard(session, pair.old), lambda one: one.ready):
        raise MeshctlError(f"{pair.new} serves, but {pair.old} does not stand by: `meshctl status`")
    return Done(pair, round(seconds, 1))


async def _start_again(session: Session, name: str) -> None:
    try:
        await session.ask(name, START)
    except HostError as error:
        remedy = "the host does it by itself within two minutes; see `meshctl status` then"
        raise HostError(name, asked=START, said=error.said, remedy=remedy) from None
    with contextlib.suppress(HostError):  # it does no harm
        await session.ask(name, CALM)


async def _guard(session: Session, name: str) -> Guard:
    return await control.guard(session, name)


async def database_pair(session: Session) -> Pair:
    """The primary and the standby in step. Raises MeshctlError."""
    members = await facts.members(session)
    primary, standby = verdict.primary(members), verdict.in_step(members)
    if primary is None or standby is None:
        raise MeshctlError(
            "nothing was done: a switchover without loss needs a primary and a Sync Standby;"
            " see `meshctl status` and docs/runbooks/database-host-lost.md"
        )
    return Pair(primary, standby)


async def switch_over(session: Session, pair: Pair) -> Done:
    """The standby becomes primary; nothing acknowledged is lost. Raises MeshctlError."""
    ends = ["--leader", pair.old, "--candidate", pair.new]
    began = time.monotonic()
    command = ["sudo", "patronictl", "switchover", *ends, "--force"]
    await session.ask(pair.new, command, within=SWITCH_SECONDS)
    settled = await _until(
        lambda: facts.members(session), lambda members: verdict.primary(members) == pair.new
    )
    seconds = time.monotonic() - began
    if not settled:
        raise MeshctlError(f"{pair.new} is not the primary yet: see `meshctl status`")
    if not await _until(lambda: facts.members(session), _complete):
        raise MeshctlError(
            f"{pair.new} is the primary, but no standby is in step: `meshctl status`"
        )
    return Done(pair, round(seconds, 1))


def _complete(members: list[dict[str, Any]]) -> bool:
    return verdict.in_step(members) is not None


async def _until(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> bool:
    """Whether something was so before the time was over; a host may be silent meanwhile."""
    until = time.monotonic() + TAKES_SECONDS
    while time.monotonic() < until:
        try:
            if wanted(await look()):
                return True
        except HostError:
            pass
        await asyncio.sleep(LOOK_SECONDS)
    return False
