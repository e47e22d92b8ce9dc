"""A role bundle: all that turns a booted host into a member of the mesh.

Plain data, sent as JSON on the standard input of `mesh-apply` over pinned SSH. It may hold
secrets, so it never travels any other way. Hosts have this file too, by user-data: nothing here
but Python 3.10 and its standard library.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_type_hints

_Kind = TypeVar("_Kind")


@dataclass(frozen=True, kw_only=True)
class File:
    """A file on the host. `owner` and `group` are names that exist there."""

    path: str
    content: str = field(repr=False)  # it may be a secret
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, kw_only=True)
class Directory:
    """A directory on the host."""

    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, kw_only=True)
class User:
    """A system user without a login, with a group of the same name."""

    name: str
    home: str


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A program fetched by content hash: an executable at `path`, or, with `unpack`, a
    .tar.gz whose single top folder becomes `path`."""

    name: str
    url: str
    sha256: str
    path: str
    unpack: bool = False


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A systemd unit and the state it is left in.

    A change of a file or artifact in `restart_on` restarts it, in `reload_on` reloads it (paths).
    """

    name: str
    running: bool = True
    restart_on: tuple[str, ...] = ()
    reload_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """A command that must succeed within `within_seconds`; tried again until it does.

    When it does not, the error shows `what`, its last output and the journal of `unit`.
    """

    what: str
    command: tuple[str, ...]
    within_seconds: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Everything of one host, in the order in which it is applied."""

    users: tuple[User, ...] = ()
    directories: tuple[Directory, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    files: tuple[File, ...] = ()
    units: tuple[Unit, ...] = ()
    checks: tuple[Check, ...] = ()

    def to_json(self) -> str:
        """The JSON text that `mesh-apply` reads; the same bundle always gives the same text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Bundle:
        """The bundle whose `to_json` gave the text.

        ValueError, TypeError, KeyError or AttributeError for any other text, quoting no value.
        """
        kinds = {name: get_args(hint)[0] for name, hint in get_type_hints(cls).items()}
        lists = {
            name: tuple(_complete(kinds[name], entry) for entry in entries)
            for name, entries in json.loads(text).items()
        }
        return _complete(cls, lists)


def _complete(kind: type[_Kind], values: dict[str, Any]) -> _Kind:
    """An instance from all of its fields: a default would hide that some did not arrive."""
    frozen = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    missing = get_type_hints(kind).keys() - values.keys()
    if missing:
        raise TypeError(f"{kind.__name__} without {', '.join(sorted(missing))}")
    return kind(**frozen)
