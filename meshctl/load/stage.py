"""A load on a running stack: virtual nodes of this machine, the server asked over SSH."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mesh import hujson
from meshctl import control
from meshctl.load import plan, server
from meshctl.load.plan import Kind
from meshctl.load.tool import Tool, ToolError
from meshctl.load.trial import Row, Trial
from meshctl.ssh import Session, said_of
from meshctl.trouble import HostError, MeshctlError

_ANSWER_SECONDS: Final = 600.0  # to delete a thousand nodes takes minutes
_PHASE_SECONDS: Final = 300.0
_AT_ONCE: Final = 16  # registrations
_BY: Final = "group:ops-admin"  # who may reach everybody, so that a rule of theirs is told to all

Tell = Callable[[Row], None]


@dataclass(frozen=True)
class Remote:
    """Headscale of a stack, on whichever control host is active. For another thread than that of
    the session."""

    session: Session
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.session.mesh.server_url

    def headscale(self, *words: str, stdin: str = "") -> str:
        # Through a pipe: what SSH gives may be a socket, which /dev/stdin cannot be opened as.
        line = ["sudo", "sh", "-c", 'cat | headscale "$@"', "sh", *words]
        return self._ask(line, stdin)

    def delete_nodes(self, ids: Sequence[str]) -> None:
        self._ask(["sudo", "sh", "-c", server.DELETE_ALL, "sh", *ids], "")

    def _ask(self, words: Sequence[str], stdin: str) -> str:
        asked = asyncio.run_coroutine_threadsafe(self._run(shlex.join(words), stdin), self.loop)
        return asked.result()

    async def _run(self, line: str, stdin: str) -> str:
        name = await control.active(self.session)
        answer = await self.session.run(name, line, stdin=stdin, within=_ANSWER_SECONDS)
        if answer.status != 0:
            raise HostError(name, asked=line, said=said_of(answer))
        return answer.stdout


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    nodes: int
    wave: int
    rest: float  # s
    program: Path  # mesh-load


def program(project: Path) -> Path:
    """mesh-load, as it was built. Raises MeshctlError."""
    manifest = project / "dist" / "manifest.json"
    try:
        return manifest.parent / str(json.loads(manifest.read_text())["mesh-load"]["path"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MeshctlError(f"{manifest} has no mesh-load; `make artifacts` builds it") from None


async def run(session: Session, order: Order, tell: Tell) -> list[Row]:
    """Put the nodes on, measure, and remove everything again, also when it is stopped.

    Raises MeshctlError.
    """
    remote = Remote(session, asyncio.get_running_loop())
    tool = Tool([str(order.program)])
    job = asyncio.ensure_future(asyncio.to_thread(_measure, remote, tool, order, tell))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        tool.stop()
        await asyncio.wait([job])  # it removes what it made; only then may the session end
        raise
    except ToolError as error:
        raise MeshctlError(f"mesh-load: {error}") from None


def _measure(remote: Remote, tool: Tool, order: Order, tell: Tell) -> list[Row]:
    policy = remote.headscale("policy", "get").removesuffix("\n")  # which the command adds
    model = hujson.parse(policy).value
    kinds = possible(remote, model)
    if not kinds:
        raise MeshctlError("the stack has none of the tags and people of a load")
    rows = []
    try:
        with server.keys(remote, kinds) as keys:
            try:
                with tool:
                    trial = Trial(remote, tool, keys, policy, _AT_ONCE, _PHASE_SECONDS)
                    for row in _phases(trial, kinds, order, marked=_BY in model.get("groups", {})):
                        tell(row)
                        rows.append(row)
            finally:
                server.remove_nodes(remote)
    except hujson.HujsonError as error:
        raise MeshctlError(f"the policy in force: {error}") from None
    return rows


def possible(remote: Remote, policy: Any) -> list[Kind]:
    """The kinds of nodes that the stack knows."""
    users = {user["name"] for user in server.ask(remote, "users", "list") or []}
    tags = set(policy.get("tagOwners", {}))
    return [k for k in plan.KINDS if (k.user in users if k.user else tags.issuperset(k.tags))]


def _phases(trial: Trial, kinds: Sequence[Kind], order: Order, *, marked: bool) -> Iterator[Row]:
    members = plan.members(order.nodes, kinds)
    for row in trial.join(members, order.wave):
        yield row
        if row.figures["lacking"]:
            return  # a server that is behind already would only fall behind further
    yield trial.quiet()
    if marked:
        yield trial.policy_change()
        yield trial.quiet()
    yield trial.newcomer(plan.member(members[-1].kind, 9000))
    yield trial.quiet()
    yield trial.rest(order.rest)
