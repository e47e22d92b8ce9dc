"""The books of the simulated clouds: one SQLite file that all plugin processes share.

Three tables matter to a reader: the resources, the log of calls (which operation on which
resource took how long: a test's oracle), and the armed faults (which calls are to fail).
Secrets that a program gave are not in it: their place holds a digest salted per state directory.
What a cloud draws itself, such as an access key's secret, is: the cloud goes by it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lab import wire
from lab.resource import Asset, Hidden, Resource

_TABLES: Final = """
create table if not exists meta(key text primary key, value text not null);
create table if not exists resources(
    number integer primary key autoincrement,
    cloud text not null, region text not null, type text not null, id text not null,
    name text not null, inputs text not null, outputs text not null,
    ready integer not null default 1,
    unique(cloud, type, id));
create table if not exists links(
    cloud text not null, source integer not null references resources on delete cascade,
    property text not null, target_type text not null, target text not null);
create index if not exists links_by_target on links(cloud, target);
create index if not exists links_by_source on links(source);
create table if not exists faults(
    number integer primary key, type text not null, name text not null, op text not null,
    message text not null, partial integer not null, remaining integer not null);
create table if not exists calls(
    number integer primary key autoincrement, at real not null, pid integer not null,
    op text not null, urn text not null, preview integer not null, ms real not null);
"""
_COLUMNS: Final = "cloud, region, type, id, name, inputs, outputs"


@dataclass(frozen=True)
class Call:
    """One call of the engine to a plugin."""

    at: float  # seconds since the epoch, at the start
    op: str  # check, diff, create, read, update, delete, invoke
    urn: str  # of the resource; the token of the function for invoke
    preview: bool
    ms: float


@dataclass(frozen=True)
class Fault:
    """A failure to play: `partial` makes the resource first and then fails its start."""

    message: str
    partial: bool


@dataclass(frozen=True)
class Link:
    """That a resource refers, by one property, to the resource of a type and id."""

    property: str
    type: str
    id: str


class Store:
    """Opens (and creates, mode 600) `<state>/clouds.db`. Safe across threads and processes."""

    def __init__(self, state: Path) -> None:
        self.path = state / "clouds.db"
        self._local = threading.local()
        state.mkdir(parents=True, exist_ok=True)
        _create(self.path)
        self._prepare()
        self._salt = bytes.fromhex(self._meta("salt", os.urandom(16).hex()))

    def _prepare(self) -> None:
        with self.change() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)

    @property
    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            # 60 s: another process may hold the file while it writes many rows.
            connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=normal")
            connection.execute("pragma foreign_keys=on")
            self._local.connection = connection
        found: sqlite3.Connection = self._local.connection
        return found

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One exclusive transaction; nested use in a thread joins the outer one."""
        connection = self._connection
        if connection.in_transaction:
            yield connection
            return
        connection.execute("begin immediate")
        try:
            yield connection
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")

    def _meta(self, key: str, default: str) -> str:
        """The value of a key, set to `default` by whoever asks first."""
        with self.change() as connection:
            connection.execute("insert or ignore into meta values(?, ?)", (key, default))
            row = connection.execute("select value from meta where key = ?", (key,)).fetchone()
        return str(row[0])

    def setting(self, key: str, default: str) -> str:
        """A setting of the simulated clouds, such as "alicloud.minimum_ttl"."""
        row = self._connection.execute("select value from meta where key = ?", (key,)).fetchone()
        return str(row[0]) if row else default

    def set_setting(self, key: str, value: str) -> None:
        """Change a setting for every plugin that uses this state from now on."""
        with self.change() as connection:
            connection.execute("insert or replace into meta values(?, ?)", (key, value))

    # Resources

    def get(self, cloud: str, type: str | None, id: str) -> Resource | None:
        """The resource of that id, of any type when `type` is None."""
        for found in self._select(
            "cloud = ? and id = ? and type = ifnull(?, type)", cloud, id, type
        ):
            return found
        return None

    def all(self, cloud: str | None = None, type: str | None = None) -> list[Resource]:
        """Every resource, oldest first, of one cloud and one type when given."""
        where = "cloud = ifnull(?, cloud) and type = ifnull(?, type)"
        return list(self._select(where, cloud, type))

    def users(self, resource: Resource) -> list[tuple[Resource, str]]:
        """The other resources that refer to this one, each with the property that does."""
        columns = ", ".join(f"r.{column.strip()}" for column in _COLUMNS.split(","))
        rows = self._connection.execute(
            f"select {columns}, l.property from links l join resources r on r.number = l.source"
            " where l.cloud = ? and l.target = ? and l.target_type = ?"
            " and not (r.type = l.target_type and r.id = l.target) order by r.number",
            (resource.cloud, resource.id, resource.type),
        ).fetchall()
        return [(_from_row(row[:-1]), row[-1]) for row in rows]

    def is_ready(self, resource: Resource) -> bool:
        """False after a partial create: the resource exists, its start failed."""
        row = self._connection.execute(
            "select ready from resources where cloud = ? and type = ? and id = ?",
            (resource.cloud, resource.type, resource.id),
        ).fetchone()
        return bool(row and row[0])

    def add(self, resource: Resource, links: list[Link], *, ready: bool) -> None:
        """Record a resource and what it refers to; secrets are hidden."""
        hidden = self.hide(resource)
        row = (*_to_row(hidden), int(ready))
        with self.change() as connection:
            connection.execute(
                f"insert into resources({_COLUMNS}, ready) values(?, ?, ?, ?, ?, ?, ?, ?)", row
            )
            self._link(connection, resource, links)

    def replace(self, resource: Resource, links: list[Link] | None = None, *, ready: bool) -> None:
        """Record what has become of a resource; `links` None keeps what it refers to."""
        hidden = self.hide(resource)
        *_, inputs, outputs = _to_row(hidden)
        key = (resource.cloud, resource.type, resource.id)
        with self.change() as connection:
            connection.execute(
                "update resources set inputs = ?, outputs = ?, ready = ?"
                " where cloud = ? and type = ? and id = ?",
                (inputs, outputs, int(ready), *key),
            )
            if links is not None:
                self._link(connection, resource, links)

    def forget(self, resource: Resource) -> None:
        """Remove a resource and what it refers to; nothing happens when it is gone."""
        with self.change() as connection:
            connection.execute(
                "delete from resources where cloud = ? and type = ? and id = ?",
                (resource.cloud, resource.type, resource.id),
            )

    def tamper(self, cloud: str, id: str, **outputs: Any) -> None:
        """Change a resource behind Pulumi's back, as a person in the cloud's console would."""
        found = self.get(cloud, None, id)
        if found is None:
            raise KeyError(f"{cloud} has no {id}")
        changed = {key: value for key, value in outputs.items() if key in found.inputs}
        self.replace(
            replace(
                found,
                inputs={**found.inputs, **changed},
                outputs={**found.outputs, **outputs},
            ),
            ready=True,
        )

    def hide(self, resource: Resource) -> Resource:
        """The resource with every `Secret` replaced by its `Hidden` digest."""
        return replace(
            resource,
            inputs=self.hidden(resource.inputs),
            outputs=self.hidden(resource.outputs),
        )

    def hidden(self, value: Any) -> Any:
        """The value with every `Secret` in it replaced by its `Hidden` digest."""
        if isinstance(value, wire.Secret):
            return Hidden(self._digest(wire.reveal(value)))
        if isinstance(value, Mapping):
            return {key: self.hidden(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hidden(item) for item in value]
        return value

    def _digest(self, value: Any) -> str:
        text = json.dumps(_plain(value), sort_keys=True)
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=16).hexdigest()

    def _link(self, connection: sqlite3.Connection, resource: Resource, links: list[Link]) -> None:
        (number,) = connection.execute(
            "select number from resources where cloud = ? and type = ? and id = ?",
            (resource.cloud, resource.type, resource.id),
        ).fetchone()
        connection.execute("delete from links where source = ?", (number,))
        connection.executemany(
            "insert into links values(?, ?, ?, ?, ?)",
            [(resource.cloud, number, link.property, link.type, link.id) for link in links],
        )

    def _select(self, where: str, *values: Any) -> Iterator[Resource]:
        query = f"select {_COLUMNS} from resources where {where} order by number"
        return map(_from_row, self._connection.execute(query, values).fetchall())

    # Faults and calls

    def arm(
        self,
        type: str = "*",
        name: str = "*",
        op: str = "create",
        message: str = "InternalError: armed fault",
        times: int = 1,
        partial: bool = False,
    ) -> None:
        """Make the next `times` real calls fail; `type` and `name` may hold * and ?.

        `partial` (create only) makes the resource and then fails its start.
        """
        with self.change() as connection:
            connection.execute(
                "insert into faults(type, name, op, message, partial, remaining)"
                " values(?, ?, ?, ?, ?, ?)",
                (type, name, op, message, int(partial), times),
            )

    def fault(self, type: str, name: str, op: str) -> Fault | None:
        """The armed fault this call falls to, used up once."""
        match = "? glob type and ? glob name and op = ? and remaining > 0"
        found = f"select number, message, partial from faults where {match} order by number"
        if self._connection.execute(found, (type, name, op)).fetchone() is None:
            return None  # the common case takes no lock
        with self.change() as connection:
            row = connection.execute(found, (type, name, op)).fetchone()
            if row is None:
                return None
            connection.execute(
                "update faults set remaining = remaining - 1 where number = ?", (row[0],)
            )
        return Fault(row[1], bool(row[2]))

    def disarm(self) -> None:
        """Forget every armed fault."""
        with self.change() as connection:
            connection.execute("delete from faults")

    def record(self, call: Call) -> None:
        """Add a call to the log."""
        self._connection.execute(
            "insert into calls(at, pid, op, urn, preview, ms) values(?, ?, ?, ?, ?, ?)",
            (call.at, os.getpid(), call.op, call.urn, int(call.preview), call.ms),
        )

    def calls(self, op: str | None = None, *, since: float = 0) -> list[Call]:
        """The calls since a time (seconds since the epoch), oldest first."""
        rows = self._connection.execute(
            "select at, op, urn, preview, ms from calls"
            " where op = ifnull(?, op) and at >= ? order by number",
            (op, since),
        )
        return [Call(at, op, urn, bool(preview), ms) for at, op, urn, preview, ms in rows]

    @contextmanager
    def timed(self, op: str, urn: str, *, preview: bool = False) -> Iterator[None]:
        """Log what runs inside as one call, also when it fails."""
        at, start = time.time(), time.perf_counter()
        try:
            yield
        finally:
            ms = (time.perf_counter() - start) * 1000
            self.record(Call(at, op, urn, preview, ms))


def _create(path: Path) -> None:
    """Make an empty file of mode 600, if there is none.

    An existing one must not be opened here: closing it would drop the locks that SQLite holds
    on it elsewhere in this process (POSIX), and another process could then corrupt it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def _to_row(resource: Resource) -> tuple[str, ...]:
    return (
        resource.cloud,
        resource.region,
        resource.type,
        resource.id,
        resource.name,
        json.dumps(_plain(resource.inputs)),
        json.dumps(_plain(resource.outputs)),
    )


def _from_row(row: tuple[Any, ...]) -> Resource:
    cloud, region, type, id, name, inputs, outputs = row
    return Resource(
        cloud,
        region,
        type,
        id,
        name,
        inputs=json.loads(inputs, object_hook=_rich),
        outputs=json.loads(outputs, object_hook=_rich),
    )


def _plain(value: Any) -> Any:
    """JSON for a value; assets and hidden secrets become marked objects."""
    if isinstance(value, Hidden):
        return {wire.SIGNATURE: "hidden", "digest": value.digest}
    if isinstance(value, Asset):
        fields = {"path": value.path, "text": value.text, "hash": value.hash}
        return {wire.SIGNATURE: "asset", **fields}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _rich(fields: dict[str, Any]) -> Any:
    mark = fields.get(wire.SIGNATURE)
    if mark == "hidden":
        return Hidden(fields["digest"])
    if mark == "asset":
        return Asset(fields["path"], fields["text"], fields["hash"])
    return fields
