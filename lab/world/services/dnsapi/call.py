"""A call of an API: the request, the account it is made to, the refusal and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dns.exception import DNSException

from lab.world.model import AccessKey, Record
from lab.world.zone import build


@dataclass(frozen=True, kw_only=True)
class Call:
    """An HTTP request. `path` and `query` are as sent; header names are in lower case."""

    method: str
    host: str
    path: str
    query: str = ""
    headers: Mapping[str, str]
    body: bytes = b""

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    text: str
    content_type: str = "application/json"


@dataclass(frozen=True)
class Account:
    """What a cloud has: zones with their ids, access keys by id, declared records."""

    zones: Mapping[str, str]
    keys: Mapping[str, AccessKey]
    records: Sequence[Record] = ()

    def zone_of_id(self, id: Any) -> str | None:
        """The name of the zone that has this id."""
        return next((name for name, known in self.zones.items() if known == str(id)), None)


class RefusedError(Exception):
    """The API says no: the service's own code and message, with an HTTP status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def is_fresh(at: datetime | None, seconds: int) -> bool:
    """Whether a request was signed not long ago, nor for the future."""
    return at is not None and abs((datetime.now(UTC) - at).total_seconds()) <= seconds


def record_of(name: str, kind: str, value: str, ttl: int, zone: str) -> Record:
    """A record as the name server takes it; ValueError when its value does not suit its kind."""
    record = Record(name=name.lower(), type=kind, value=value, ttl=ttl, zone=zone)
    try:
        build([record])
    except (DNSException, ValueError) as error:
        raise ValueError(str(error)) from error
    return record


def label_of(record: Record) -> str:
    """A record's name inside its zone; "@" is the zone itself."""
    return record.name.removesuffix(record.zone).rstrip(".") or "@"
