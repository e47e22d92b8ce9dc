"""The provider protocol: from the engine's RPCs to a `Handler` in plain Python, and back.

A handler sees property values as `lab.wire` describes them and raises `CloudError` to refuse.
Logging of calls, armed faults, secrets on the wire and error forms are settled here, once.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol

from lab import stubs, wire
from lab.checks import Problem
from lab.resource import CloudError
from lab.store import Store

Properties = dict[str, Any]
_MEBIBYTE: Final = 1 << 20
# Commands may run for minutes each, more at once than the engine's default parallelism.
_THREADS: Final = 64


@dataclass(frozen=True)
class Target:
    """The resource a call is about."""

    urn: str
    preview: bool = False
    timeout: float = 0  # seconds the program allows (custom_timeouts); 0: no limit
    seed: bytes = b""  # the engine's random seed of this resource, the same in preview and up

    @property
    def type(self) -> str:
        return self.urn.split("::")[2].split("$")[-1]

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]


@dataclass(frozen=True)
class Changes:
    """What a diff found: `kinds` maps a property path to "add", "delete" or "update"."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()  # property paths that force a new resource
    delete_first: bool = False


class InitFailedError(Exception):
    """The resource was made, but is not ready: Pulumi keeps its id and the reason."""

    def __init__(self, id: str, inputs: Properties, outputs: Properties, reason: str) -> None:
        super().__init__(reason)
        self.id = id
        self.inputs = inputs
        self.outputs = outputs


class RefusedError(Exception):
    """The text that Pulumi shows when a call fails."""


class Handler(Protocol):
    """One provider. Inputs and outputs may hold `Secret` and, in previews, `UNKNOWN`."""

    def check_config(self, inputs: Properties) -> list[Problem]: ...

    def configure(self, inputs: Properties) -> None: ...

    def check(
        self, target: Target, olds: Properties, news: Properties
    ) -> tuple[Properties, list[Problem]]: ...

    def diff(
        self, target: Target, old_inputs: Properties, outputs: Properties, news: Properties
    ) -> Changes: ...

    def create(
        self, target: Target, inputs: Properties, *, partial: str | None
    ) -> tuple[str, Properties]:
        """`partial`: make the resource, then raise `InitFailedError` with this reason."""
        ...

    def read(
        self, target: Target, id: str, inputs: Properties, outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        """(inputs, outputs) as the cloud has them now; None when it has none."""
        ...

    def update(
        self, target: Target, id: str, outputs: Properties, news: Properties
    ) -> Properties: ...

    def delete(self, target: Target, id: str, outputs: Properties) -> None: ...

    def invoke(self, token: str, args: Properties) -> Properties: ...

    def cancel(self) -> None:
        """The engine wants every running call to end soon."""
        ...


class Service:
    """Answers the engine for one handler."""

    def __init__(self, handler: Handler, store: Store, version: str) -> None:
        self._handler = handler
        self._store = store
        self._version = version

    def start(self) -> tuple[Any, int]:
        """A running gRPC server on 127.0.0.1 and its port."""
        limits = [
            ("grpc.max_receive_message_length", 400 * _MEBIBYTE),
            ("grpc.max_send_message_length", 400 * _MEBIBYTE),
        ]
        server = stubs.grpc.server(ThreadPoolExecutor(max_workers=_THREADS), options=limits)
        server.add_generic_rpc_handlers((self._methods(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, int(port)

    def _methods(self) -> Any:
        messages = stubs.provider
        table: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            "GetPluginInfo": (stubs.empty.Empty, self._info),
            "Cancel": (stubs.empty.Empty, self._cancel),
            "CheckConfig": (messages.CheckRequest, self._check_config),
            "DiffConfig": (messages.DiffRequest, self._diff_config),
            "Configure": (messages.ConfigureRequest, self._configure),
            "Check": (messages.CheckRequest, self._check),
            "Diff": (messages.DiffRequest, self._diff),
            "Create": (messages.CreateRequest, self._create),
            "Read": (messages.ReadRequest, self._read),
            "Update": (messages.UpdateRequest, self._update),
            "Delete": (messages.DeleteRequest, self._delete),
            "Invoke": (messages.InvokeRequest, self._invoke),
        }
        handlers = {
            name: stubs.grpc.unary_unary_rpc_method_handler(
                _guarded(answer),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (request, answer) in table.items()
        }
        return stubs.grpc.method_handlers_generic_handler("pulumirpc.ResourceProvider", handlers)

    # The provider itself

    def _info(self, request: Any) -> Any:
        return stubs.plugin.PluginInfo(version=self._version)

    def _cancel(self, request: Any) -> Any:
        self._handler.cancel()
        return stubs.empty.Empty()

    def _check_config(self, request: Any) -> Any:
        problems = self._handler.check_config(wire.decode(request.news))
        return stubs.provider.CheckResponse(inputs=request.news, failures=_failures(problems))

    def _diff_config(self, request: Any) -> Any:
        old, new = wire.decode(request.old_inputs), wire.decode(request.news)
        kinds = {key: kind for key, kind in compare(old, new).items() if key != "version"}
        # What lives in one region cannot move to another.
        replaces = tuple(key for key in kinds if key == "region")
        return _diff_response(Changes(kinds, replaces))

    def _configure(self, request: Any) -> Any:
        self._handler.configure(wire.decode(request.args))
        return stubs.provider.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=False, acceptOutputs=False
        )

    # Resources

    def _fault(self, target: Target, op: str) -> str | None:
        """Fails as armed; returns the message when the failure is to be a partial create."""
        fault = self._store.fault(target.type, target.name, op)
        if fault is None:
            return None
        if fault.partial:
            return fault.message
        raise RefusedError(_about(target, fault.message))

    def _check(self, request: Any) -> Any:
        target = Target(request.urn, seed=request.randomSeed)
        with self._store.timed("check", request.urn):
            self._fault(target, "check")
            inputs, problems = self._handler.check(
                target, wire.decode(request.olds), wire.decode(request.news)
            )
        return stubs.provider.CheckResponse(
            inputs=wire.encode(inputs),
            failures=_failures(problems),
        )

    def _diff(self, request: Any) -> Any:
        target = Target(request.urn)
        with self._store.timed("diff", request.urn):
            changes = self._handler.diff(
                target,
                wire.decode(request.old_inputs),
                wire.decode(request.olds),
                wire.decode(request.news),
            )
        return _diff_response(changes)

    def _create(self, request: Any) -> Any:
        target = Target(request.urn, request.preview, request.timeout)
        with self._store.timed("create", request.urn, preview=request.preview), _naming(target):
            partial = None if request.preview else self._fault(target, "create")
            id, outputs = self._handler.create(
                target, wire.decode(request.properties), partial=partial
            )
        return stubs.provider.CreateResponse(id=id, properties=wire.encode(outputs))

    def _read(self, request: Any) -> Any:
        target = Target(request.urn)
        with self._store.timed("read", request.urn), _naming(target):
            self._fault(target, "read")
            found = self._handler.read(
                target, request.id, wire.decode(request.inputs), wire.decode(request.properties)
            )
        if found is None:
            return stubs.provider.ReadResponse(id="")
        inputs, outputs = map(wire.encode, found)
        return stubs.provider.ReadResponse(id=request.id, inputs=inputs, properties=outputs)

    def _update(self, request: Any) -> Any:
        target = Target(request.urn, request.preview, request.timeout)
        with self._store.timed("update", request.urn, preview=request.preview), _naming(target):
            if not request.preview:
                self._fault(target, "update")
            outputs = self._handler.update(
                target, request.id, wire.decode(request.olds), wire.decode(request.news)
            )
        return stubs.provider.UpdateResponse(properties=wire.encode(outputs))

    def _delete(self, request: Any) -> Any:
        target = Target(request.urn, timeout=request.timeout)
        with self._store.timed("delete", request.urn), _naming(target):
            self._fault(target, "delete")
            self._handler.delete(target, request.id, wire.decode(request.properties))
        return stubs.empty.Empty()

    def _invoke(self, request: Any) -> Any:
        with self._store.timed("invoke", request.tok):
            result = self._handler.invoke(request.tok, wire.decode(request.args))
        return stubs.provider.InvokeResponse(**{"return": wire.encode(result)})


# Diffs


def compare(old: Any, new: Any, path: str = "") -> dict[str, str]:
    """Property path → "add", "delete" or "update" for all that differs, secrets aside."""
    old, new = _bare(old), _bare(new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: dict[str, str] = {}
        for key in sorted({*old, *new} - {"__defaults"}):
            found |= _compare_item(old.get(key), new.get(key), _join(path, key))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = {}
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            found |= _compare_item(before, after, f"{path}[{index}]")
        return found
    return {} if wire.same(old, new) else {path: "update"}


def _compare_item(old: Any, new: Any, path: str) -> dict[str, str]:
    if old is None or new is None:
        if old is new:
            return {}
        return {path: "add" if old is None else "delete"}
    return compare(old, new, path)


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, wire.Secret) else value


def _join(path: str, key: str) -> str:
    if "." in key or "[" in key:
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


def root(path: str) -> str:
    """The top-level property of a path: "tags" of "tags.Name"."""
    return path.replace("[", ".").split(".")[0]


def _diff_response(changes: Changes) -> Any:
    kinds = stubs.provider.PropertyDiff.Kind
    replaced = {root(path) for path in changes.replaces}
    detailed = {}
    for path, kind in changes.kinds.items():
        suffix = "_REPLACE" if root(path) in replaced else ""
        value = kinds.Value(f"{kind.upper()}{suffix}")
        detailed[path] = stubs.provider.PropertyDiff(kind=value, inputDiff=True)
    some = bool(changes.kinds or changes.replaces)
    response = stubs.provider.DiffResponse
    return response(
        changes=response.DIFF_SOME if some else response.DIFF_NONE,
        diffs=sorted({root(path) for path in changes.kinds}),
        replaces=sorted(replaced),
        detailedDiff=detailed,
        hasDetailedDiff=True,
        deleteBeforeReplace=changes.delete_first,
    )


# Errors


def _failures(problems: list[Problem]) -> list[Any]:
    """The engine puts the resource's type and name in front, but not always the property."""
    return [
        stubs.provider.CheckFailure(
            property=problem.property, reason=f"{problem.property} {problem.reason}".strip()
        )
        for problem in problems
    ]


def _about(target: Target, text: str) -> str:
    return f"{target.type} {target.name!r}: {text}"


@contextmanager
def _naming(target: Target) -> Iterator[None]:
    """Puts the resource's type and name in front of what goes wrong inside."""
    try:
        yield
    except CloudError as error:
        where = f"{error.property}: " if error.property else ""
        details = f"\n{error.details}" if error.details else ""
        raise RefusedError(_about(target, f"{where}{error}{details}")) from error


def _guarded(answer: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """The method as gRPC wants it, with exceptions turned into gRPC errors."""

    def method(request: Any, context: Any) -> Any:
        try:
            return answer(request)
        except InitFailedError as error:
            _abort_init_failed(context, error)
        except (RefusedError, CloudError) as error:
            context.abort(stubs.grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:
            text = f"the lab's plugin failed: {error!r}\n{traceback.format_exc(limit=-4)}"
            context.abort(stubs.grpc.StatusCode.INTERNAL, text)

    return method


def _abort_init_failed(context: Any, error: InitFailedError) -> NoReturn:
    code = stubs.grpc.StatusCode.UNKNOWN
    detail = stubs.any_message.Any()
    detail.Pack(
        stubs.provider.ErrorResourceInitFailed(
            id=error.id,
            properties=wire.encode(error.outputs),
            inputs=wire.encode(error.inputs),
            reasons=[str(error)],
        )
    )
    status = stubs.status.Status(code=code.value[0], message=str(error), details=[detail])
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    context.set_trailing_metadata(metadata)
    context.abort(code, str(error))
    raise AssertionError("abort always raises")
