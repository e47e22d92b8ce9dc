"""Commands on hosts: user mesh, one key that stays in memory, host keys pinned by the stack."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import asyncssh

from meshctl.stack import Host, Mesh
from meshctl.trouble import HostError, MeshctlError, NotKnownError, UnreachableError

USER: Final = "mesh"
CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 1.0
KEEPALIVE_SECONDS: Final = 5.0  # three without an answer end a connection

Words = Sequence[str]


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class Session:
    """Connections to hosts, opened when first needed and shared; `async with` closes them."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._key = _import_key(mesh)
        self._opening: dict[str, asyncio.Task[asyncssh.SSHClientConnection]] = {}

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in reversed(self._opening.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, MeshctlError):
                connection = await task
                connection.close()
                with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
                    await asyncio.wait_for(connection.wait_closed(), CLOSE_SECONDS)

    async def run(
        self, name: str, command: str | Words, *, stdin: str = "", within: float = ANSWER_SECONDS
    ) -> Answer:
        """How a command ended, whatever its status. Raises UnreachableError, or NotKnownError when
        the connection broke or `within` seconds were over first."""
        line = command if isinstance(command, str) else shlex.join(command)
        connection = await self._connection(name, line)
        try:
            async with asyncio.timeout(within):
                given = {"input": stdin} if stdin else {"stdin": asyncssh.DEVNULL}
                done = await connection.run(line, check=False, **given)
        except TimeoutError:
            said, remedy = (
                f"no answer within {within:g} s",
                "see whether it is done, then try again",
            )
        except (asyncssh.Error, OSError) as error:
            said, remedy = f"the connection was lost: {error}", "see whether it is done"
        else:
            if done.exit_status is not None and done.exit_status >= 0:
                return Answer(done.exit_status, str(done.stdout or ""), str(done.stderr or ""))
            said, remedy = "the command was killed", f"look at it: meshctl ssh {name}"
        raise NotKnownError(name, asked=line, said=said, remedy=remedy)

    async def ask(
        self, name: str, command: str | Words, *, stdin: str = "", within: float = ANSWER_SECONDS
    ) -> str:
        """Standard output of a command that succeeds. Raises HostError."""
        answer = await self.run(name, command, stdin=stdin, within=within)
        if answer.status != 0:
            line = command if isinstance(command, str) else shlex.join(command)
            raise HostError(name, asked=line, said=said_of(answer))
        return answer.stdout

    async def _connection(self, name: str, asked: str) -> asyncssh.SSHClientConnection:
        if name not in self._opening:
            self._opening[name] = asyncio.create_task(self._open(name))
        try:
            # A caller that gives up must not take the connection from the others.
            return await asyncio.shield(self._opening[name])
        except UnreachableError as error:
            again = UnreachableError(error.host, asked=asked, said=error.said, remedy=error.remedy)
            again.because = error.because
            raise again from None

    async def _open(self, name: str) -> asyncssh.SSHClientConnection:
        host, bastion = self.mesh.host(name), self.mesh.bastion
        way: asyncssh.SSHClientConnection | None = None
        if host.private and name != bastion:
            try:
                way = await self._connection(bastion, "")
            except UnreachableError as error:
                said = f"the way to it leads through {bastion}: {error.said}"
                blocked = UnreachableError(name, asked="", said=said, remedy=error.remedy)
                blocked.because = bastion
                raise blocked from None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncssh.connect(
                    host.address, host.port, tunnel=way, **self._options(name, host)
                )
        except (TimeoutError, asyncssh.Error, OSError) as error:
            said, remedy = _why(name, host, error)
        raise UnreachableError(name, asked="", said=said, remedy=remedy)

    def _options(self, name: str, host: Host) -> dict[str, Any]:
        try:
            pinned = asyncssh.import_public_key(host.host_key)
        except asyncssh.KeyImportError as error:
            raise MeshctlError(f"hosts.{name}.host_key: not a public key: {error}") from None
        return {
            "username": USER,
            "client_keys": [self._key],
            "preferred_auth": "publickey",
            "agent_path": None,
            "known_hosts": ([pinned], [], []),
            "config": None,
            "keepalive_interval": KEEPALIVE_SECONDS,
        }


def _import_key(mesh: Mesh) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(mesh.operators_key.get_secret_value())
    except asyncssh.KeyImportError:  # its text might tell what is in the key
        raise MeshctlError(
            "operators_key: not a private key; were the outputs shown without --show-secrets?"
        ) from None


def _why(name: str, host: Host, error: Exception) -> tuple[str, str]:
    """What is in the way of a connection, and what to do."""
    where = f"{host.address}:{host.port}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return (
            f"{where} shows another host key than the stack pinned",
            "if the host was rebuilt, `pulumi up` pins its new key; if not, somebody is in the way:"
            " send nothing there",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return (
            f"{where} refuses the operators' key",
            "`pulumi refresh`: do these outputs belong to the running stack?",
        )
    if isinstance(error, TimeoutError):
        return (
            f"{where} does not answer within {CONNECT_SECONDS:g} s",
            f"is your own address in mesh:admin_cidrs? if so, see {name} in the cloud's console",
        )
    number = error.errno if isinstance(error, OSError) else None
    text = os.strerror(number).lower() if number else str(error) or type(error).__name__
    return f"{where} cannot be reached: {text}", f"see {name} in the cloud's console"


def said_of(answer: Answer) -> str:
    """The last words of a command that failed."""
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    return " ".join(lines[-3:]) or f"exit status {answer.status}"
