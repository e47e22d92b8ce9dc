"""The control hosts: which of them is active, and what mesh-registry says there."""

from __future__ import annotations

import asyncio
import json
import shlex
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from meshctl.ssh import Session, said_of
from meshctl.trouble import HostError, MeshctlError

# The host's own clock: that of this machine may be wrong.
GUARD: Final = "date +%s && sudo cat /run/mesh-guard/status.json"
STALE_SECONDS: Final = 10.0  # the guard tells twice a second
MOVES: Final = 6  # times that the role may be elsewhere, before giving up
PAUSE_SECONDS: Final = 2.0  # a hand-over takes some
REGISTRY_SECONDS: Final = 120.0
_ELSEWHERE: Final = 3  # mesh-registry's exit status where Headscale does not run


class Guard(BaseModel):
    """What the guard of a control host last said, `age_s` seconds ago."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    role: str
    since: float = 0.0
    holder: str = ""
    reason: str = ""
    database: bool = False
    server_pid: int | None = None
    server_answers: bool = False
    held_s: float | None = None  # Headscale is stopped on purpose for at most so long
    at: float
    age_s: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether the guard still says it."""
        return self.age_s < STALE_SECONDS

    @property
    def serves(self) -> bool:
        """Whether Headscale runs here, and answers."""
        return self.fresh and self.role == "active" and self.server_answers

    @property
    def ready(self) -> bool:
        """Whether it could take over."""
        return self.fresh and self.role == "standby" and self.database


@dataclass(frozen=True)
class Silence:
    """A host that could not be asked, or whose answer makes no sense."""

    error: HostError


async def guard(session: Session, name: str) -> Guard:
    """The guard of one host. Raises HostError."""
    text = await session.ask(name, GUARD)
    now, _, status = text.partition("\n")
    try:
        told = Guard.model_validate_json(status)
        return told.model_copy(update={"age_s": float(now) - told.at})
    except (ValidationError, ValueError):
        remedy = f"meshctl ssh {name} -- journalctl -u mesh-guard -n 50"
        raise HostError(
            name, asked=GUARD, said=f"no status of a guard: {status[:80]!r}", remedy=remedy
        ) from None


async def guards(session: Session) -> dict[str, Guard | Silence]:
    """Every control host's, asked at the same time."""
    names = session.mesh.names("control")

    async def one(name: str) -> Guard | Silence:
        try:
            return await guard(session, name)
        except HostError as error:
            return Silence(error)

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


async def active(session: Session) -> str:
    """The host on which Headscale serves now. Raises MeshctlError that tells of each host."""
    told = await guards(session)
    for name, one in told.items():
        if isinstance(one, Guard) and one.serves:
            return name
    lines = [f"  {name}: {_in_words(one)}" for name, one in told.items()]
    raise MeshctlError("\n".join(["no control host serves now; see `meshctl status`", *lines]))


def _in_words(told: Guard | Silence) -> str:
    if isinstance(told, Silence):
        return told.error.said
    if not told.fresh:
        return f"its guard has said nothing for {told.age_s:.0f} s"
    return f"{told.role}: {told.reason}"


async def registry(
    session: Session, *words: str, stdin: str = "", within: float = REGISTRY_SECONDS
) -> Any:
    """The answer of `mesh-registry words…` from the active host, which may move meanwhile.

    Raises MeshctlError. Only a command that was not begun is tried elsewhere.
    """
    line = shlex.join(["sudo", "mesh-registry", *words])
    name = await active(session)
    for turn in range(MOVES):
        answer = await session.run(name, line, stdin=stdin, within=within)
        if answer.status == 0:
            return _parsed(name, line, answer.stdout)
        if answer.status != _ELSEWHERE:
            raise HostError(name, asked=line, said=said_of(answer))
        holder = _parsed(name, line, answer.stdout).get("active")
        known = holder in session.mesh.names("control") and holder != name
        if turn or not known:  # a take-over is under way
            await asyncio.sleep(PAUSE_SECONDS)
        name = holder if known else await _active_or(session, name)
    raise MeshctlError(
        f"mesh-registry {words[0]}: the active role moved {MOVES} times; nothing was done."
        " See `meshctl status`"
    )


async def _active_or(session: Session, last: str) -> str:
    """The active host, or the last one where there is none yet."""
    try:
        return await active(session)
    except MeshctlError:
        return last


def _parsed(name: str, line: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        said = f"no JSON, {len(text)} characters"  # which may be a secret
        raise HostError(
            name, asked=line, said=said, remedy="`pulumi up` brings it up to date"
        ) from None
