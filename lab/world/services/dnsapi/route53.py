"""Route 53: REST and XML of version 2013-04-01, signed by AWS4 for us-east-1."""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from lab.world.model import AccessKey, Record
from lab.world.services.dnsapi import policies, signatures
from lab.world.services.dnsapi.book import Book, Entry
from lab.world.services.dnsapi.call import (
    Account,
    Answer,
    Call,
    RefusedError,
    is_fresh,
    record_of,
)
from lab.world.services.dnsapi.caller import Caller

HOST: Final = "route53.amazonaws.com"
OWNER: Final = "aws"
_NAMESPACE: Final = "https://route53.amazonaws.com/doc/2013-04-01/"
_SCOPE: Final = ("us-east-1", "route53", "aws4_request")
_XML: Final = "text/xml"
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


def answer(call: Call, book: Book) -> Answer:
    """The API's answer to a call."""
    try:
        account = book.account()
        key = _authenticated(call, account)
        return Answer(200, _perform(call, _Caller(key, account, book)), _XML)
    except RefusedError as error:
        return Answer(error.status, _error(error), _XML)


def _error(error: RefusedError) -> str:
    if error.code == "InvalidChangeBatch":  # the one error with a form of its own
        inner = f"<Messages><Message>{escape(error.message)}</Message></Messages>"
        return _document("InvalidChangeBatch", inner + _request_id())
    said = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    return _document("ErrorResponse", f"<Error><Type>Sender</Type>{said}</Error>{_request_id()}")


def _request_id() -> str:
    return f"<RequestId>{uuid.uuid4()}</RequestId>"


def _document(name: str, inner: str) -> str:
    return f'<?xml version="1.0"?>\n<{name} xmlns="{_NAMESPACE}">{inner}</{name}>'


def _authenticated(call: Call, account: Account) -> AccessKey:
    header = call.header("authorization")
    given = signatures.read(header)
    if given is None or given.algorithm != signatures.AWS4:
        code = "IncompleteSignature" if header else "MissingAuthenticationToken"
        raise RefusedError(403, code, "Missing Authentication Token")
    key = account.keys.get(given.key)
    if key is None or not key.active:
        text = "The security token included in the request is invalid."
        raise RefusedError(403, "InvalidClientTokenId", text)
    at = _time(call.header("x-amz-date"))
    if not is_fresh(at, 5 * 60):
        raise RefusedError(403, "SignatureDoesNotMatch", "Signature expired")
    day = call.header("x-amz-date")[:8]
    signed = signatures.is_signed(call, given, key.secret, ("host", "x-amz-date"))
    if given.scope != (day, *_SCOPE) or not signed:
        text = (
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. "
            "Consult the service documentation for details."
        )
        raise RefusedError(403, "SignatureDoesNotMatch", text)
    return key


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


class _Caller(Caller):
    def demand(
        self, action: str, resource: str, context: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """RefusedError unless the user's policies allow it."""
        name, arn = f"route53:{action}", f"arn:aws:route53:::{resource}"
        if not policies.allows(self._key.policies, name, arn, context):
            user = f"arn:aws:iam::{self._key.account}:user/{self._key.user}"
            text = (
                f"User: {user} is not authorized to perform: {name} on resource: {arn} "
                f"because no identity-based policy allows the {name} action"
            )
            raise RefusedError(403, "AccessDenied", text)

    def zone(self, id: str) -> str:
        """The name of a hosted zone."""
        name = self.account.zone_of_id(id)
        if name is None:
            raise RefusedError(404, "NoSuchHostedZone", f"No hosted zone found with ID: {id}")
        return name


def _perform(call: Call, caller: _Caller) -> str:
    path = unquote(call.path).rstrip("/")
    for method, pattern, perform in _OPERATIONS:
        found = re.fullmatch(pattern, path)
        if found and call.method == method:
            return perform(call, caller, *found.groups())
    raise RefusedError(404, "UnknownOperationException", f"{call.method} {path} is not known")


def _query(call: Call) -> dict[str, str]:
    return dict(parse_qsl(call.query, keep_blank_values=True))


def _list_zones(call: Call, caller: _Caller) -> str:
    caller.demand("ListHostedZonesByName", "hostedzone/*")
    wanted = _query(call).get("dnsname", "").rstrip(".").lower()
    # The list starts at the zone that is asked for, in the order of names read from the right.
    zones = sorted(caller.account.zones.items(), key=lambda item: _order(item[0]))
    shown = [(n, i) for n, i in zones if not wanted or _order(n) >= _order(wanted)]
    items = "".join(_zone(name, id) for name, id in shown)
    end = "<IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>"
    return _document("ListHostedZonesByNameResponse", f"<HostedZones>{items}</HostedZones>{end}")


def _order(name: str) -> list[str]:
    return name.rstrip(".").split(".")[::-1]


def _zone(name: str, id: str) -> str:
    config = "<Config><PrivateZone>false</PrivateZone></Config>"
    names = f"<Id>/hostedzone/{id}</Id><Name>{name}.</Name><CallerReference>lab</CallerReference>"
    return f"<HostedZone>{names}{config}</HostedZone>"


def _list_records(call: Call, caller: _Caller, id: str) -> str:
    caller.demand("ListResourceRecordSets", f"hostedzone/{id}")
    zone, query = caller.zone(id), _query(call)
    start = (_order(query.get("name", "")), query.get("type", "")) if "name" in query else None
    found = sorted(caller.book.entries(caller.account, zone), key=_set_key)
    sets = [(key, list(group)) for key, group in groupby(found, key=_set_key)]
    shown = "".join(_set(group) for key, group in sets if start is None or key >= start)
    end = "<IsTruncated>false</IsTruncated><MaxItems>300</MaxItems>"
    inner = f"<ResourceRecordSets>{shown}</ResourceRecordSets>{end}"
    return _document("ListResourceRecordSetsResponse", inner)


def _set_key(entry: Entry) -> tuple[list[str], str]:
    return _order(entry.record.name), entry.record.type


def _set(entries: Sequence[Entry]) -> str:
    record = entries[0].record
    values = "".join(
        f"<ResourceRecord><Value>{escape(_written(entry.record))}</Value></ResourceRecord>"
        for entry in entries
    )
    head = f"<Name>{record.name}.</Name><Type>{record.type}</Type><TTL>{record.ttl}</TTL>"
    inner = f"{head}<ResourceRecords>{values}</ResourceRecords>"
    return f"<ResourceRecordSet>{inner}</ResourceRecordSet>"


def _written(record: Record) -> str:
    """A value as Route 53 writes it: texts in quotes."""
    if record.type != "TXT":
        return record.value
    quoted = record.value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def _plain(kind: str, value: str) -> str:
    """A value without Route 53's quotes; ValueError when a text has none."""
    if kind != "TXT":
        return value
    parts = _QUOTED.findall(value)
    if not parts:
        raise ValueError("the value must be enclosed in quotation marks")
    return "".join(re.sub(r"\\(.)", r"\1", part) for part in parts)


@dataclass(frozen=True)
class _Change:
    action: str
    name: str
    type: str
    ttl: int
    values: tuple[str, ...]

    def records(self, zone: str) -> tuple[Record, ...]:
        """What is to be there; RefusedError when it does not suit the zone or its type."""
        if self.name != zone and not self.name.endswith(f".{zone}"):
            raise _invalid(f"RRSet with DNS name {self.name}. is not permitted in zone {zone}.")
        plain = (_plain(self.type, value) for value in self.values)
        try:
            return tuple(record_of(self.name, self.type, value, self.ttl, zone) for value in plain)
        except ValueError as error:
            raise _invalid(f"Invalid Resource Record: {error}") from error


def _change_records(call: Call, caller: _Caller, id: str) -> str:
    changes = list(_changes(call.body))
    prefix = "route53:ChangeResourceRecordSets"
    context = {
        f"{prefix}RecordTypes": [change.type for change in changes],
        f"{prefix}NormalizedRecordNames": [change.name for change in changes],
        f"{prefix}Actions": [change.action for change in changes],
    }
    caller.demand("ChangeResourceRecordSets", f"hostedzone/{id}", context)
    zone = caller.zone(id)
    for change in changes:
        _apply(change, caller, zone)
    return _document("ChangeResourceRecordSetsResponse", _change_info(f"C{uuid.uuid4().hex[:20]}"))


def _changes(body: bytes) -> Iterator[_Change]:
    try:
        root = ET.fromstring(body)
        for change in root.iter(f"{{{_NAMESPACE}}}Change"):
            yield _Change(
                action=_text(change, "Action"),
                name=_text(change, "Name").rstrip(".").lower(),
                type=_text(change, "Type"),
                ttl=int(_text(change, "TTL")),
                values=tuple(v.text or "" for v in change.iter(f"{{{_NAMESPACE}}}Value")),
            )
    except (ET.ParseError, ValueError) as error:
        raise RefusedError(400, "InvalidInput", f"The XML is not well-formed: {error}") from error


def _text(change: ET.Element, tag: str) -> str:
    found = next(change.iter(f"{{{_NAMESPACE}}}{tag}"), None)
    if found is None:
        raise ValueError(f"{tag} is missing")
    return found.text or ""


def _invalid(message: str) -> RefusedError:
    return RefusedError(400, "InvalidChangeBatch", message)


def _apply(change: _Change, caller: _Caller, zone: str) -> None:
    wanted = change.records(zone)
    here = [
        entry
        for entry in caller.book.entries(caller.account, zone)
        if (entry.record.name, entry.record.type) == (change.name, change.type)
    ]
    named = f"[name='{change.name}.', type='{change.type}']"
    if any(entry.declared for entry in here):
        raise _invalid(f"Tried to change {named}, which was made elsewhere")
    if change.action == "DELETE":
        if {entry.record for entry in here} != {*wanted}:
            raise _invalid(f"Tried to delete resource record set {named} but it was not found")
        caller.book.remove(here)
    elif change.action == "CREATE" and here:
        raise _invalid(f"Tried to create resource record set {named} but it already exists")
    else:
        caller.book.replace(change.name, change.type, wanted)


def _get_change(call: Call, caller: _Caller, id: str) -> str:
    caller.demand("GetChange", f"change/{id}")
    return _document("GetChangeResponse", _change_info(id))


def _change_info(id: str) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    inner = f"<Id>/change/{id}</Id><Status>INSYNC</Status><SubmittedAt>{now}</SubmittedAt>"
    return f"<ChangeInfo>{inner}</ChangeInfo>"


_OPERATIONS: Final[Sequence[tuple[str, str, Callable[..., str]]]] = (
    ("GET", r"/2013-04-01/hostedzonesbyname", _list_zones),
    ("GET", r"/2013-04-01/hostedzone/(\w+)/rrset", _list_records),
    ("POST", r"/2013-04-01/hostedzone/(\w+)/rrset", _change_records),
    ("GET", r"/2013-04-01/change/(\w+)", _get_change),
)
