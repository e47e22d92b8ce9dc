"""One command on one host over SSH, as pulumi-command 1.2.1 does it.

When the lab has a world of hosts, connections are opened inside the operator's network
namespace: the machine's own network does not know the hosts' addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncssh

from lab.resource import CloudError
from lab.transcript import Transcript

_CLONE_NEWNET: Final = 0x40000000
# The real plugin waits 0.1 s after the first refusal, then half as long again, at most 5 s.
_FIRST_WAIT, _WAIT_FACTOR, _LONGEST_WAIT = 0.1, 1.5, 5.0
# What Go sets on its sockets; a host that vanishes is noticed after 15 s × (1 + 9).
_KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, 15),
    (socket.TCP_KEEPINTVL, 15),
    (socket.TCP_KEEPCNT, 9),
)


@dataclass(frozen=True)
class Endpoint:
    """Where to connect and as whom; the fields of pulumi-command's `connection`."""

    host: str
    port: int = 22
    user: str = "root"
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    private_key_password: str | None = field(default=None, repr=False)
    agent_socket_path: str | None = None
    host_key: str | None = None
    dial_error_limit: int = 10  # -1: no limit
    per_dial_timeout: float = 15  # seconds; 0: no limit
    proxy: Endpoint | None = None

    @classmethod
    def parse(cls, connection: Mapping[str, Any]) -> Endpoint:
        """From the (revealed) input of a resource."""
        given = {key: value for key, value in connection.items() if value is not None}
        names = {
            "host": "host",
            "user": "user",
            "password": "password",
            "privateKey": "private_key",
            "privateKeyPassword": "private_key_password",
            "agentSocketPath": "agent_socket_path",
            "hostKey": "host_key",
        }
        fields = {own: str(given[name]) for name, own in names.items() if name in given}
        return cls(
            **fields,
            port=int(given.get("port", 22)),
            dial_error_limit=int(given.get("dialErrorLimit", 10)),
            per_dial_timeout=float(given.get("perDialTimeout", 15)),
            proxy=cls.parse(given["proxy"]) if "proxy" in given else None,
        )

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


async def run(
    endpoint: Endpoint,
    command: str,
    *,
    stdin: str,
    environment: Mapping[str, str],
    hints: Mapping[str, str],
    transcript: Transcript,
    state: Path,
) -> None:
    """Run a command to its end; CloudError when it cannot be reached or does not exit 0.

    `environment` must be accepted by the host, `hints` may be refused with a warning.
    """
    async with _dial(endpoint, _operator_namespace(state)) as connection:
        try:
            await _run(connection, command, stdin, environment, hints, transcript)
        except (asyncssh.Error, OSError) as error:
            reason = f"the connection to {endpoint} was lost: {error}"
            raise CloudError("ConnectionLost", transcript.failure(reason, command)) from error


async def _run(
    connection: asyncssh.SSHClientConnection,
    command: str,
    stdin: str,
    environment: Mapping[str, str],
    hints: Mapping[str, str],
    transcript: Transcript,
) -> None:
    accepted = await _accepted(connection, hints)
    for name in hints.keys() - accepted:
        transcript.warn(_environment_refused(name))
    refused = sorted(environment.keys() - await _accepted(connection, environment))
    if refused:
        raise CloudError("EnvironmentRefused", _environment_refused(refused[0]), "environment")
    variables = {**{name: hints[name] for name in accepted}, **environment}
    process: Any = await connection.create_process(command, env=variables, encoding=None)
    await asyncio.gather(
        _feed(process.stdin, stdin.encode()),
        transcript.copy("stdout", process.stdout),
        transcript.copy("stderr", process.stderr),
    )
    await process.wait_closed()
    _raise_for_exit(process, command, transcript)


async def _feed(pipe: Any, data: bytes) -> None:
    """Write to a process that may not care to read it all."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.write(data)
        await pipe.drain()
    pipe.write_eof()


def _raise_for_exit(process: Any, command: str, transcript: Transcript) -> None:
    if process.exit_status == 0:
        return
    if process.exit_signal:
        reason = f"Process exited with signal {process.exit_signal[0]}"
    elif process.exit_status is None:
        reason = "the connection was lost before the command ended"
    else:
        reason = f"Process exited with status {process.exit_status}"
    raise CloudError("CommandFailed", transcript.failure(reason, command))


async def _accepted(
    connection: asyncssh.SSHClientConnection, variables: Mapping[str, str]
) -> set[str]:
    """The variables that reach a command: SSH servers drop those they do not list."""
    accepted = set()
    for name, value in variables.items():
        probe = await connection.run(f"printenv {name}", env={name: value}, stdin=asyncssh.DEVNULL)
        if probe.exit_status == 0:
            accepted.add(name)
    return accepted


def _environment_refused(name: str) -> str:
    return (
        f"the host does not accept the variable {name}; list it in AcceptEnv of its sshd, "
        "or give it in the command or on standard input"
    )


# Connecting


@contextlib.asynccontextmanager
async def _dial(
    endpoint: Endpoint, namespace: str | None
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection, tried again as often as the endpoint's limit allows."""
    start, tries, wait = time.monotonic(), 0, _FIRST_WAIT
    while True:
        tries += 1
        try:
            connections = await _dial_once(endpoint, namespace)
            break
        except (OSError, asyncssh.Error, TimeoutError) as error:
            if -1 < endpoint.dial_error_limit < tries:
                seconds = time.monotonic() - start
                last = str(error) or type(error).__name__
                text = f"cannot reach {endpoint}: {last} after {tries} tries in {seconds:.1f} s"
                raise CloudError("Unreachable", text, "connection") from None
        await asyncio.sleep(wait)  # between dials, as the real plugin paces them
        wait = min(wait * _WAIT_FACTOR, _LONGEST_WAIT)
    try:
        yield connections[-1]
    finally:
        for connection in reversed(connections):
            connection.abort()


async def _dial_once(
    endpoint: Endpoint, namespace: str | None
) -> list[asyncssh.SSHClientConnection]:
    """[connection] or [proxy's connection, connection through it]."""
    opened: list[asyncssh.SSHClientConnection] = []
    try:
        async with asyncio.timeout(endpoint.per_dial_timeout or None):
            if endpoint.proxy:
                link = await _open_socket(endpoint.proxy, namespace)
                opened.append(await asyncssh.connect(sock=link, **_options(endpoint.proxy)))
                through: dict[str, Any] = {"tunnel": opened[0], "port": endpoint.port}
                through["host"] = endpoint.host
            else:
                through = {"sock": await _open_socket(endpoint, namespace)}
            opened.append(await asyncssh.connect(**through, **_options(endpoint)))
    except BaseException:
        for connection in opened:
            connection.abort()
        raise
    return opened


def _options(endpoint: Endpoint) -> dict[str, Any]:
    keys = []
    if endpoint.private_key:
        keys.append(
            asyncssh.import_private_key(endpoint.private_key, endpoint.private_key_password)
        )
    pinned: Any = None
    if endpoint.host_key:
        pinned = ([asyncssh.import_public_key(endpoint.host_key)], [], [])
    return {
        "username": endpoint.user,
        "password": endpoint.password,
        "client_keys": keys or None,  # None: never the keys of whoever runs the lab
        "agent_path": endpoint.agent_socket_path or os.environ.get("SSH_AUTH_SOCK"),
        "known_hosts": pinned,  # None: any host key, as in the real plugin
        "config": None,
    }


async def _open_socket(endpoint: Endpoint, namespace: str | None) -> socket.socket:
    """A connected TCP socket, made inside the network namespace when one is named."""
    link, address = await asyncio.get_running_loop().run_in_executor(
        None, _new_socket, endpoint, namespace
    )
    try:
        await asyncio.get_running_loop().sock_connect(link, address)
    except BaseException:
        link.close()
        raise
    return link


def _new_socket(endpoint: Endpoint, namespace: str | None) -> tuple[socket.socket, Any]:
    """An unconnected socket and the address to connect it to.

    A socket belongs for life to the namespace of the thread that made it. The executor's
    threads serve only this module and this namespace, so there is no way back to take.
    """
    if namespace:
        _enter(namespace)
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    link = socket.socket(family, kind, protocol)
    link.setblocking(False)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        link.setsockopt(socket.IPPROTO_TCP, option, value)
    return link, address


def _enter(namespace: str) -> None:
    """Move this thread into a network namespace (os.setns is Python 3.12)."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"cannot enter {namespace}: {os.strerror(code)}")
    finally:
        os.close(descriptor)


def _operator_namespace(state: Path) -> str | None:
    """The path in <state>/world.json; None when hosts are reached as from this machine."""
    found: str | None = json.loads((state / "world.json").read_text())["operator_namespace"]
    return found
