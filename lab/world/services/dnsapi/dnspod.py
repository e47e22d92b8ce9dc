"""DNSPod: API 3.0 of version 2021-03-23, JSON both ways, signed by TC3. Errors have status 200."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

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

HOST: Final = "dnspod.tencentcloudapi.com"
OWNER: Final = "tencentcloud"
_VERSION: Final = "2021-03-23"
_LINE: Final = "默认"  # DNSPod's word for: whoever asks
_PAGE: Final = 3000  # the longest list of domains and of records

_Given = Mapping[str, Any]


def answer(call: Call, book: Book) -> Answer:
    """The API's answer to a call."""
    try:
        account = book.account()
        key = _authenticated(call, account)
        said = _perform(call, _Caller(key, account, book))
    except RefusedError as error:
        said = {"Error": {"Code": error.code, "Message": error.message}}
    return Answer(200, json.dumps({"Response": {**said, "RequestId": str(uuid.uuid4())}}))


def _refused(code: str, message: str) -> RefusedError:
    return RefusedError(200, code, message)


def _authenticated(call: Call, account: Account) -> AccessKey:
    given = signatures.read(call.header("authorization"))
    stamp = call.header("x-tc-timestamp")
    if given is None or given.algorithm != signatures.TC3 or not stamp.isdecimal():
        text = "The provided credentials could not be validated. Please check your signature."
        raise _refused("AuthFailure.InvalidAuthorization", text)
    key = account.keys.get(given.key)
    if key is None or not key.active:
        text = "The SecretId is not found, please ensure that your SecretId is correct."
        raise _refused("AuthFailure.SecretIdNotFound", text)
    at = datetime.fromtimestamp(int(stamp), UTC)
    if not is_fresh(at, 5 * 60):
        text = "The signature has expired; the timestamp must be within 5 minutes of the server's."
        raise _refused("AuthFailure.SignatureExpire", text)
    scope = (at.strftime("%Y-%m-%d"), "dnspod", "tc3_request")
    signed = signatures.is_signed(call, given, key.secret, ("content-type", "host"))
    if given.scope != scope or not signed:
        text = (
            "The provided credentials could not be validated. "
            "Please check your signature is correct."
        )
        raise _refused("AuthFailure.SignatureFailure", text)
    return key


class _Caller(Caller):
    def demand(self, action: str, domain: str) -> None:
        """RefusedError unless the user's policies allow it; `domain` is a number or "*"."""
        resource = f"qcs::dnspod::uin/{self._key.account}:domain/{domain}"
        if not policies.allows(self._key.policies, f"dnspod:{action}", resource):
            text = (
                f"you are not authorized to perform operation (dnspod:{action})\n"
                f"resource ({resource}) has no permission\n"
            )
            raise _refused("AuthFailure.UnauthorizedOperation", text)

    def demand_domain(self, action: str, given: _Given) -> str:
        """The name of the domain a call means, by number or else by name."""
        id = given.get("DomainId")
        name = self.account.zone_of_id(id) if id else str(given.get("Domain", "")).lower()
        self.demand(action, str(id or self.account.zones.get(name or "", "*")))
        if name not in self.account.zones:
            raise _refused("InvalidParameterValue.DomainNotExists", "The domain does not exist.")
        return str(name)


def _perform(call: Call, caller: _Caller) -> dict[str, Any]:
    action, version = call.header("x-tc-action"), call.header("x-tc-version")
    known = _ACTIONS.get(action)
    if known is None or version != _VERSION:
        raise _refused("InvalidAction", f"The action {action} of {version} does not exist.")
    try:
        given = json.loads(call.body)
    except ValueError as error:
        raise _refused("InvalidParameter", "The request's body is not JSON.") from error
    return known(given, caller)


def _domains(given: _Given, caller: _Caller) -> dict[str, Any]:
    caller.demand("DescribeDomainList", "*")
    zones = sorted(caller.account.zones.items())
    found = [
        {"DomainId": int(id), "Name": name, "Punycode": name, "Status": "ENABLE", "TTL": 600}
        for name, id in zones
        if str(given.get("Keyword") or "") in name
    ]
    start = int(given.get("Offset") or 0)
    shown = found[start : start + int(given.get("Limit") or _PAGE)]
    counts = {"DomainTotal": len(found), "AllTotal": len(zones), "MineTotal": len(zones)}
    return {"DomainCountInfo": counts, "DomainList": shown}


def _records(given: _Given, caller: _Caller) -> dict[str, Any]:
    domain = caller.demand_domain("DescribeRecordList", given)
    label, kind = given.get("Subdomain"), given.get("RecordType")
    found = [
        _shown(entry)
        for entry in caller.book.entries(caller.account, domain)
        if label in (None, label_of(entry.record)) and kind in (None, entry.record.type)
    ]
    if not found:
        raise _refused("ResourceNotFound.NoDataOfRecord", "The list of records is empty.")
    start = int(given.get("Offset") or 0)
    shown = found[start : start + int(given.get("Limit") or _PAGE)]
    counts = {"SubdomainCount": len(found), "ListCount": len(shown), "TotalCount": len(found)}
    return {"RecordCountInfo": counts, "RecordList": shown}


def _shown(entry: Entry) -> dict[str, Any]:
    record = entry.record
    return {
        "RecordId": int(entry.id),
        "Name": label_of(record),
        "Type": record.type,
        "Value": record.value,
        "TTL": record.ttl,
        "Line": _LINE,
        "LineId": "0",
        "Status": "ENABLE",
    }


def _create(given: _Given, caller: _Caller) -> dict[str, Any]:
    domain = caller.demand_domain("CreateRecord", given)
    for name in ("RecordType", "RecordLine", "Value"):
        if not given.get(name):
            raise _refused("MissingParameter", f"The request is missing the parameter {name}.")
    label, ttl = str(given.get("SubDomain") or "@").lower(), int(given.get("TTL") or 600)
    full = domain if label == "@" else f"{label}.{domain}"
    try:
        record = record_of(full, str(given["RecordType"]), str(given["Value"]), ttl, domain)
    except ValueError as error:
        raise _refused("InvalidParameter.RecordValueInvalid", f"Invalid value: {error}") from error
    if any(entry.record == record for entry in caller.book.entries(caller.account, domain)):
        raise _refused("InvalidParameter.DomainRecordExist", "The record already exists.")
    return {"RecordId": int(caller.book.add(record).id)}


def _delete(given: _Given, caller: _Caller) -> dict[str, Any]:
    domain = caller.demand_domain("DeleteRecord", given)
    entry = caller.book.find(given.get("RecordId"))
    if entry is None or entry.record.zone != domain:
        raise _refused("InvalidParameter.RecordIdInvalid", "The record's id is invalid.")
    caller.book.remove([entry])
    return {}


_ACTIONS: Final[Mapping[str, Callable[[_Given, _Caller], dict[str, Any]]]] = {
    "DescribeDomainList": _domains,
    "DescribeRecordList": _records,
    "CreateRecord": _create,
    "DeleteRecord": _delete,
}
