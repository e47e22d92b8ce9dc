"""The records made through the APIs, in <state>/dns-live.json, and what was declared beside."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lab.world.model import AccessKey, Record
from lab.world.services.dnsapi.call import Account
from lab.world.state import State, read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A record as a service shows it: whose it is, its id, and whether it was made here."""

    owner: str
    id: str
    record: Record
    declared: bool = False


_ENTRIES = TypeAdapter(list[Entry])
_KEYS = TypeAdapter(list[AccessKey])
_RECORDS = TypeAdapter(list[Record])


class Book:
    """One cloud's records and account. Changes are whole: a reader sees all of one or nothing."""

    _alone = threading.Lock()  # of the one process that writes

    def __init__(self, state: State, owner: str) -> None:
        self._state = state
        self._owner = owner

    def account(self) -> Account:
        """Zones and keys as they are declared now."""
        found = read_json(self._state.dns_api, {}).get(self._owner, {})
        keys = {key.id: key for key in _KEYS.validate_python(found.get("keys", []))}
        records = _RECORDS.validate_python(found.get("records", []))
        return Account(found.get("zones", {}), keys, records)

    def entries(self, account: Account, zone: str) -> list[Entry]:
        """Every record of a zone, declared ones first."""
        declared = [
            Entry(owner=self._owner, id=_id_of(record), record=record, declared=True)
            for record in account.records
            if record.zone == zone
        ]
        return declared + [entry for entry in self._own() if entry.record.zone == zone]

    def find(self, id: Any) -> Entry | None:
        """The record of that id, if it was made here."""
        return next((entry for entry in self._own() if entry.id == str(id)), None)

    def add(self, record: Record) -> Entry:
        """A new record, answered from now on."""
        new = Entry(owner=self._owner, id=_new_id(), record=record)
        with self._changing() as entries:
            entries.append(new)
        return new

    def remove(self, gone: Sequence[Entry]) -> None:
        """Answer these no more."""
        with self._changing() as entries:
            entries[:] = [entry for entry in entries if entry not in gone]

    def replace(self, name: str, kind: str, new: Sequence[Record]) -> None:
        """Other values of a name at once, whatever they were."""
        made = [Entry(owner=self._owner, id=_new_id(), record=record) for record in new]
        with self._changing() as entries:
            entries[:] = [entry for entry in entries if not self._is_of(entry, name, kind)] + made

    def _is_of(self, entry: Entry, name: str, kind: str) -> bool:
        record = entry.record
        return (entry.owner, record.name, record.type) == (self._owner, name, kind)

    def _own(self) -> list[Entry]:
        return [entry for entry in live(self._state.dns_live) if entry.owner == self._owner]

    @contextmanager
    def _changing(self) -> Iterator[list[Entry]]:
        with self._alone:
            entries = live(self._state.dns_live)
            yield entries
            zones = self.account().zones
            # A zone that has gone takes its records along.
            kept = [e for e in entries if e.owner != self._owner or e.record.zone in zones]
            write_json(self._state.dns_live, _ENTRIES.dump_python(kept, mode="json"))


def live(path: Path) -> list[Entry]:
    """The records that were made through the APIs."""
    return _ENTRIES.validate_python(read_json(path, []))


def _new_id() -> str:
    return str(secrets.randbelow(9 * 10**9) + 10**9)


def _id_of(record: Record) -> str:
    text = f"{record.name} {record.type} {record.value}"
    return str(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
