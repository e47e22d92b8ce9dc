"""Alidns: RPC of version 2015-01-09, parameters in the query, signed by ACS3."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from lab.world.model import AccessKey
from lab.world.services.dnsapi import policies, signatures
from lab.world.services.dnsapi.book import Book, Entry
from lab.world.services.dnsapi.call import (
    Account,
    Answer,
    Call,
    RefusedError,
    is_fresh,
    label_of,
    record_of,
)
from lab.world.services.dnsapi.caller import Caller

HOST: Final = "alidns.aliyuncs.com"
OWNER: Final = "alicloud"
_SIGNED: Final = ("host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-version")
_PAGE: Final = 20  # entries of a page when the call does not say
_LONGEST_PAGE: Final = {"DescribeDomains": 100, "DescribeDomainRecords": 500}
_NO_DOMAIN: Final = (400, "InvalidDomainName.NoExist", "The specified domain name does not exist.")


def answer(call: Call, book: Book) -> Answer:
    """The API's answer to a call."""
    given = dict(parse_qsl(call.query, keep_blank_values=True))
    given.update(parse_qsl(call.body.decode(errors="replace"), keep_blank_values=True))
    try:
        account = book.account()
        key = _authenticated(call, account)
        said = _perform(call.header("x-acs-action"), given, _Caller(key, account, book))
    except RefusedError as error:
        wrong = {"Code": error.code, "Message": error.message, "HostId": call.host}
        return Answer(error.status, _json(wrong))
    return Answer(200, _json(said))


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps({"RequestId": str(uuid.uuid4()).upper(), **content})


def _authenticated(call: Call, account: Account) -> AccessKey:
    given = signatures.read(call.header("authorization"))
    if given is None or given.algorithm != signatures.ACS3:
        raise RefusedError(400, "MissingAccessKeyId", "AccessKeyId is mandatory for this action.")
    key = account.keys.get(given.key)
    if key is None:
        raise RefusedError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    if not key.active:
        raise RefusedError(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
    if not is_fresh(_time(call.header("x-acs-date")), 15 * 60):
        raise RefusedError(
            400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."
        )
    if not signatures.is_signed(call, given, key.secret, _SIGNED):
        text = "Specified signature is not matched with our calculation."
        raise RefusedError(400, "SignatureDoesNotMatch", text)
    return key


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


class _Caller(Caller):
    def demand(self, action: str, domain: str) -> None:
        """RefusedError unless the user's policies allow it."""
        resource = f"acs:alidns::{self._key.account}:domain/{domain}"
        if not policies.allows(self._key.policies, f"alidns:{action}", resource):
            text = (
                "User not authorized to operate on the specified resource, "
                "or this API doesn't support RAM."
            )
            raise RefusedError(403, "Forbidden.RAM", text)

    def demand_domain(self, action: str, domain: str) -> str:
        """The same for a domain, which must exist."""
        self.demand(action, domain)
        if domain not in self.account.zones:
            raise RefusedError(*_NO_DOMAIN)
        return domain


def _perform(action: str, given: Mapping[str, str], caller: _Caller) -> Mapping[str, Any]:
    known = _ACTIONS.get(action)
    if known is None:
        text = "Specified api is not found, please check your url and method."
        raise RefusedError(404, "InvalidAction.NotFound", text)
    return known(given, caller)


def _describe_domains(given: Mapping[str, str], caller: _Caller) -> Mapping[str, Any]:
    caller.demand("DescribeDomains", "*")
    domains = [
        {"DomainName": name, "PunyCode": name, "DomainId": id, "AliDomain": True}
        for name, id in sorted(caller.account.zones.items())
        if given.get("KeyWord", "") in name
    ]
    return _page("DescribeDomains", given, "Domains", "Domain", domains)


def _describe_records(given: Mapping[str, str], caller: _Caller) -> Mapping[str, Any]:
    domain = caller.demand_domain("DescribeDomainRecords", _needed(given, "DomainName"))
    entries = caller.book.entries(caller.account, domain)
    records = [_shown(entry) for entry in entries]
    return _page("DescribeDomainRecords", given, "DomainRecords", "Record", records)


def _shown(entry: Entry) -> dict[str, Any]:
    record = entry.record
    return {
        "DomainName": record.zone,
        "RecordId": entry.id,
        "RR": label_of(record),
        "Type": record.type,
        "Value": record.value,
        "TTL": record.ttl,
        "Line": "default",
        "Status": "ENABLE",
        "Locked": entry.declared,
    }


def _page(
    action: str, given: Mapping[str, str], group: str, item: str, found: list[dict[str, Any]]
) -> Mapping[str, Any]:
    size = _number(given, "PageSize", _PAGE, _LONGEST_PAGE[action])
    number = _number(given, "PageNumber", 1, 10**6)
    shown = found[(number - 1) * size : number * size]
    counts = {"TotalCount": len(found), "PageNumber": number, "PageSize": size}
    return {**counts, group: {item: shown}}


def _number(given: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = given.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise RefusedError(400, f"Invalid{name}", f"The specified {name} is invalid.")
    return int(text)


def _needed(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise RefusedError(400, f"Missing{name}", f"{name} is mandatory for this action.")
    return given[name]


def _add_record(given: Mapping[str, str], caller: _Caller) -> Mapping[str, Any]:
    domain = caller.demand_domain("AddDomainRecord", _needed(given, "DomainName").lower())
    label, kind, value = (_needed(given, name) for name in ("RR", "Type", "Value"))
    name = domain if label == "@" else f"{label}.{domain}"
    ttl = _number(given, "TTL", 600, 86400)
    try:
        record = record_of(name, kind, value, ttl, domain)
    except ValueError as error:
        raise RefusedError(400, "InvalidRecordValue", f"Invalid value: {error}") from error
    same = (record.name, kind, value)
    for entry in caller.book.entries(caller.account, domain):
        if (entry.record.name, entry.record.type, entry.record.value) == same:
            raise RefusedError(400, "DomainRecordDuplicate", "The DNS record already exists.")
    return {"RecordId": caller.book.add(record).id}


def _delete_record(given: Mapping[str, str], caller: _Caller) -> Mapping[str, Any]:
    id = _needed(given, "RecordId")
    entry = caller.book.find(id)
    if entry is None:
        text = "The domain record does not belong to the user."
        raise RefusedError(400, "DomainRecordNotBelongToUser", text)
    caller.demand("DeleteDomainRecord", entry.record.zone)
    caller.book.remove([entry])
    return {"RecordId": id}


_ACTIONS: Final[Mapping[str, Callable[[Mapping[str, str], _Caller], Mapping[str, Any]]]] = {
    "DescribeDomains": _describe_domains,
    "DescribeDomainRecords": _describe_records,
    "AddDomainRecord": _add_record,
    "DeleteDomainRecord": _delete_record,
}
