"""Which sections, keys and kinds of values a policy and its tests may have."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mesh.hujson import Path

Found = tuple[Path, str]  # where, and what is wrong there

_STRINGS: Final = "a list of strings"


@dataclass(frozen=True)
class _Table:
    """Any keys of the user's own, all with the same kind of value."""

    of: str


@dataclass(frozen=True)
class _Records:
    """A list of objects with these keys."""

    required: Mapping[str, str]
    optional: Mapping[str, str]
    ignored: str = ""  # what a key begins with that Headscale ignores


_Shape = str | _Table | _Records

_SSH_TEST: Final = dict.fromkeys(("accept", "deny", "check"), _STRINGS)
POLICY: Final[Mapping[str, _Shape]] = {
    "groups": _Table(_STRINGS),
    "tagOwners": _Table(_STRINGS),
    "hosts": _Table("a string"),
    "acls": _Records(
        {"action": "a string", "src": _STRINGS, "dst": _STRINGS}, {"proto": "a string"}, "#"
    ),
    "grants": _Records(
        {"src": _STRINGS, "dst": _STRINGS}, {"ip": _STRINGS, "app": "an object", "via": _STRINGS}
    ),
    "ssh": _Records(
        {"action": "a string", "src": _STRINGS, "dst": _STRINGS, "users": _STRINGS},
        {"checkPeriod": "a string", "acceptEnv": _STRINGS},
    ),
    "nodeAttrs": _Records({"target": _STRINGS}, {"attr": _STRINGS, "ipPool": _STRINGS}),
    "autoApprovers": "an object",
    "randomizeClientPort": "true or false",
}
TESTS: Final[Mapping[str, _Shape]] = {
    "admins": "a string",
    "tests": _Records(
        {"src": "a string"}, {"proto": "a string", "accept": _STRINGS, "deny": _STRINGS}
    ),
    "sshTests": _Records({"src": "a string", "dst": _STRINGS}, _SSH_TEST),
}


def faults(value: Any, allowed: Mapping[str, _Shape]) -> Iterator[Found]:
    """What is not as `allowed` (POLICY or TESTS) has it."""
    if not isinstance(value, dict):
        yield (), f"{_kind(value)} is not a policy; write an object in {{…}}"
        return
    for name, section in value.items():
        if name in allowed:
            yield from _section((name,), section, allowed[name])
        elif allowed is POLICY and name in TESTS:
            yield (name,), f'"{name}" belongs in tests.hujson; the server is not sent them'
        else:
            yield (name,), f'there is no section "{name}"; {suggestion(name, allowed)}'


def suggestion(name: str, known: Iterable[str]) -> str:
    """ "write tagOwners" for a near miss, else everything that is allowed."""
    # Without what all of them begin with: it would make every name a near one.
    by_ending = {_ending(each): each for each in known}
    near = difflib.get_close_matches(_ending(name), by_ending, 1, 0.7)
    if near:
        return f"write {by_ending[near[0]]}"
    return f"choose from {', '.join(sorted(by_ending.values()))}" if by_ending else "declare it"


def _ending(name: str) -> str:
    return name.lower().rpartition(":")[2]


def _section(path: Path, value: Any, shape: _Shape) -> Iterator[Found]:
    if isinstance(shape, str):
        yield from _plain(path, value, shape)
    elif isinstance(shape, _Table):
        yield from _plain(path, value, "an object")
        for name, item in value.items() if isinstance(value, dict) else ():
            yield from _plain((*path, name), item, shape.of)
    else:
        yield from _plain(path, value, "a list of objects")
        for i, item in enumerate(value) if isinstance(value, list) else ():
            if isinstance(item, dict):
                yield from _record((*path, i), item, shape)


def _record(path: Path, value: dict[str, Any], shape: _Records) -> Iterator[Found]:
    known = {**shape.required, **shape.optional}
    for name, item in value.items():
        if name in known:
            yield from _plain((*path, name), item, known[name])
        elif not (shape.ignored and name.startswith(shape.ignored)):
            yield (*path, name), f'there is no key "{name}" here; {suggestion(name, known)}'
    for name, kind in shape.required.items():
        if name not in value:
            yield path, f'"{name}" is missing; write {kind}'
        elif value[name] == []:
            yield (*path, name), f'"{name}" is empty; the rule would do nothing'


def _plain(path: Path, value: Any, kind: str) -> Iterator[Found]:
    if kind == _STRINGS and isinstance(value, list):
        for i, item in enumerate(value):
            yield from _plain((*path, i), item, "a string")
    elif not _is(value, kind):
        yield path, f"{_kind(value)} stands where {kind} is wanted"


def _is(value: Any, kind: str) -> bool:
    if kind == "a list of objects":
        return isinstance(value, list) and all(isinstance(item, dict) for item in value)
    wanted = {"a string": str, "an object": dict, "true or false": bool}.get(kind, type(None))
    return isinstance(value, wanted)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else repr(value)
