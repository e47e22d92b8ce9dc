"""The command provider: local commands really run here, remote ones over SSH on the lab's hosts.

Without a world (no <state>/world.json) there are no hosts: a remote command succeeds at once
with empty outputs, so that a program's shape can be tested without booting anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lab import checks, provider, schema, stubs, wire
from lab.checks import Problem
from lab.provider import Changes, Properties, Target
from lab.resource import CloudError
from lab.transcript import Transcript

LOCAL: Final = "command:local:Command"
REMOTE: Final = "command:remote:Command"
_RUN: Final = "command:local:run"
_CONNECTION_DEFAULTS: Final = {
    "user": "root",
    "port": 22,
    "dialErrorLimit": 10,
    "perDialTimeout": 15,
}
_NOTHING: Final = {"stdout": "", "stderr": ""}


class Commands:
    """Handler of the command package."""

    def __init__(self, state: Path, engine_address: str) -> None:
        self._state = state
        self._log = EngineLog(engine_address)
        self._running: set[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = set()
        self._lock = threading.Lock()

    def check_config(self, inputs: Properties) -> list[Problem]:
        return []

    def configure(self, inputs: Properties) -> None:
        return None

    def cancel(self) -> None:
        with self._lock:
            for loop, task in self._running:
                loop.call_soon_threadsafe(task.cancel)

    def check(
        self, target: Target, olds: Properties, news: Properties
    ) -> tuple[Properties, list[Problem]]:
        found = schema.resource(target.type)
        if found is None or target.type not in {LOCAL, REMOTE}:
            return news, [Problem("", "the lab does not simulate this resource type")]
        problems = list(checks.problems(found, wire.reveal(news)))
        for name in ("assetPaths", "archivePaths"):
            if name in news:
                problems.append(Problem(name, "the lab does not collect files"))
        if "connection" in news:
            news = {**news, "connection": _with_defaults(news["connection"])}
        return news, problems

    def diff(
        self, target: Target, old_inputs: Properties, outputs: Properties, news: Properties
    ) -> Changes:
        kinds = provider.compare(old_inputs, news)
        replaces = tuple(path for path in kinds if provider.root(path) == "triggers")
        return Changes(kinds, replaces)

    def create(
        self, target: Target, inputs: Properties, *, partial: str | None
    ) -> tuple[str, Properties]:
        if target.preview:
            return "", inputs
        written = self._run(target, inputs, inputs.get("create"), {})
        id = f"{target.name}{secrets.token_hex(4)}"
        result = _outputs(inputs, written)
        if partial is not None:
            raise provider.InitFailedError(id, inputs, result, partial)
        return id, result

    def read(
        self, target: Target, id: str, inputs: Properties, outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        return inputs, outputs  # a command leaves nothing that could be read

    def update(self, target: Target, id: str, outputs: Properties, news: Properties) -> Properties:
        if target.preview:
            return news
        written = self._run(target, news, news.get("update") or news.get("create"), outputs)
        return _outputs(news, written)

    def delete(self, target: Target, id: str, outputs: Properties) -> None:
        if outputs.get("delete"):
            self._run(target, outputs, outputs["delete"], outputs)

    def invoke(self, token: str, args: Properties) -> Properties:
        if token != _RUN:
            raise CloudError("NotSupported", f"the lab does not simulate the function {token}")
        # The real plugin runs this in previews too.
        target = Target(urn=f"urn:pulumi:::::{LOCAL}::run")
        return _outputs(args, self._run(target, args, args.get("command"), {}))

    def _run(
        self, target: Target, inputs: Properties, command: Any, previous: Properties
    ) -> dict[str, str]:
        """What the command wrote; CloudError when it fails."""
        plain, text = wire.reveal(inputs), wire.reveal(command)
        before = wire.reveal(previous)
        if text is None:
            return {name: before.get(name) or "" for name in _NOTHING}
        hints = {}
        if plain.get("addPreviousOutputInEnv", True):
            every = {f"PULUMI_COMMAND_{name.upper()}": before.get(name) for name in _NOTHING}
            hints = {name: value for name, value in every.items() if value}
        transcript = Transcript(
            plain.get("logging"),
            log=lambda line: self._log.info(target.urn, line),
            warn=lambda line: self._log.warning(target.urn, line),
        )
        if target.type == LOCAL:
            work = _run_local(plain, text, hints, transcript)
        elif (self._state / "world.json").exists():
            work = self._run_remote(plain, text, hints, transcript)
        else:
            return dict(_NOTHING)
        self._wait_for(work, target.timeout)
        return transcript.outputs()

    def _run_remote(
        self, plain: Properties, command: str, hints: dict[str, str], transcript: Transcript
    ) -> Coroutine[Any, Any, None]:
        from lab import ssh  # 0.3 s to import, so only when a command really runs

        return ssh.run(
            ssh.Endpoint.parse(plain["connection"]),
            command,
            stdin=plain.get("stdin") or "",
            environment=plain.get("environment") or {},
            hints=hints,
            transcript=transcript,
            state=self._state,
        )

    def _wait_for(self, work: Coroutine[Any, Any, None], timeout: float) -> None:
        """Run to the end in this thread, unless `timeout` seconds pass or pulumi cancels."""

        async def bounded() -> None:
            task = asyncio.ensure_future(work)
            with self._cancellable(task):
                async with asyncio.timeout(timeout or None):
                    await task

        try:
            asyncio.run(bounded())
        except TimeoutError:
            text = f"the command did not end within {timeout:g} s (custom_timeouts)"
            raise CloudError("Timeout", text) from None
        except asyncio.CancelledError:
            raise CloudError("Cancelled", "pulumi cancelled the command") from None

    @contextlib.contextmanager
    def _cancellable(self, task: asyncio.Task[None]) -> Iterator[None]:
        entry = (asyncio.get_running_loop(), task)
        with self._lock:
            self._running.add(entry)
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(entry)


def handler(state: Path, engine_address: str) -> Commands:
    """The handler; `engine_address` is where the engine takes log lines."""
    return Commands(state, engine_address)


def _with_defaults(connection: Any) -> Any:
    """The connection with the real plugin's defaults, through a proxy too."""
    if isinstance(connection, wire.Secret):
        return wire.Secret(_with_defaults(connection.value))
    if not isinstance(connection, Mapping):
        return connection
    filled = {**_CONNECTION_DEFAULTS, **connection}
    if "proxy" in filled:
        filled["proxy"] = _with_defaults(filled["proxy"])
    return filled


def _outputs(inputs: Properties, written: Mapping[str, str]) -> Properties:
    """Inputs and what was written: secret as soon as any input is, as in the real plugin."""
    if not wire.has_secret(inputs):
        return {**inputs, **written}
    return {**inputs, **{name: wire.Secret(text) for name, text in written.items()}}


async def _run_local(
    plain: Properties, command: str, hints: Mapping[str, str], transcript: Transcript
) -> None:
    interpreter = plain.get("interpreter") or ["/bin/sh", "-c"]
    try:
        process = await asyncio.create_subprocess_exec(
            *interpreter,
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=plain.get("dir"),
            env={**os.environ, **(plain.get("environment") or {}), **hints},
            start_new_session=True,
        )
    except OSError as error:
        raise CloudError("CommandFailed", transcript.failure(str(error), command)) from error
    try:
        await asyncio.gather(
            _feed(process, (plain.get("stdin") or "").encode()),
            transcript.copy("stdout", process.stdout),
            transcript.copy("stderr", process.stderr),
        )
        status = await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if status != 0:
        word = f"exit status {status}" if status > 0 else f"signal: {signal.strsignal(-status)}"
        raise CloudError("CommandFailed", transcript.failure(word, command))


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    """Write to a process that may not care to read it all."""
    pipe = process.stdin
    if pipe is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.write(data)
        await pipe.drain()
    pipe.close()


class EngineLog:
    """Lines for the person at the terminal, through the engine; silent without an address."""

    def __init__(self, address: str) -> None:
        self._stub: Any = None
        if address:
            channel = stubs.grpc.insecure_channel(address)
            self._stub = stubs.engine_grpc.EngineStub(channel)

    def info(self, urn: str, line: str) -> None:
        """A passing line, shown while the resource is worked on."""
        self._send(stubs.engine.INFO, urn, line, ephemeral=True)

    def warning(self, urn: str, line: str) -> None:
        """A line that stays, under the resource's diagnostics."""
        self._send(stubs.engine.WARNING, urn, line, ephemeral=False)

    def _send(self, severity: int, urn: str, line: str, *, ephemeral: bool) -> None:
        if self._stub is None:
            return
        request = stubs.engine.LogRequest(
            severity=severity, message=line, urn=urn, streamId=0, ephemeral=ephemeral
        )
        with contextlib.suppress(stubs.grpc.RpcError):  # the engine is on its way out
            self._stub.Log(request)
