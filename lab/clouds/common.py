"""Rules that the clouds share beside those about addresses: user data, DNS, buckets, keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lab import wire
from lab.checks import Problem
from lab.resource import Asset, CloudError
from lab.rules import Check, Demand, Request

_USER_DATA_LIMIT: Final = 16 * 1024  # bytes before base64, at all three clouds
_HOST_NAME: Final = re.compile(
    r"^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9-]+\.?$", re.I
)


def user_data(property: str, encoding: str) -> Check:
    """At most 16 KiB; `encoding` is "plain", "base64" or "either" (as the provider takes it)."""

    def check(request: Request) -> Iterator[Problem]:
        text = request.known(property)
        if text is None:
            return
        data = str(text).encode()
        if encoding != "plain":
            decoded = _decoded(data)
            if decoded is None and encoding == "base64":
                yield Problem(property, "must be base64; give plain text in the other input")
                return
            data = data if decoded is None else decoded
        if len(data) > _USER_DATA_LIMIT:
            text = f"{len(data)} bytes are over the limit of {_USER_DATA_LIMIT}"
            yield Problem(property, text)

    return check


def _decoded(data: bytes) -> bytes | None:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return None


def at_most_one(*properties: str) -> Check:
    """The properties exclude each other."""

    def check(request: Request) -> Iterator[Problem]:
        given = [name for name in properties if request.inputs.get(name) is not None]
        for name in given[1:]:
            yield Problem(name, f"conflicts with {given[0]}")

    return check


def matches(property: str, pattern: str, meaning: str) -> Check:
    """`property`, if given, matches the whole pattern; `meaning` says it in words."""

    def check(request: Request) -> Iterator[Problem]:
        text = request.known(property)
        if text is not None and not re.fullmatch(pattern, str(text)):
            yield Problem(property, f"{text!r} must be {meaning}")

    return check


def public_key(property: str) -> Check:
    """`property`, if given, is a public key in OpenSSH's one-line form."""

    def check(request: Request) -> Iterator[Problem]:
        text = request.known(property)
        if text is None:
            return
        kind, _, rest = str(text).strip().partition(" ")
        blob = _decoded(rest.split(" ")[0].encode()) if rest else None
        # The blob starts with the length and text of the same kind.
        if not blob or blob[4 : 4 + len(kind)] != kind.encode():
            yield Problem(property, "is not a public key in OpenSSH format")

    return check


def unique(property: str, code: str, *, globally: bool = False) -> Demand:
    """No other resource of this type has the same `property`; in any region if `globally`."""

    def demand(request: Request) -> Iterator[CloudError]:
        value = request.inputs.get(property)
        everyone = request.store.all(request.cloud, request.type)
        for other in everyone if globally else request.others():
            if value and other.outputs.get(property) == value and other.id != request.id:
                where = "" if globally else f" in {request.region}"
                yield CloudError(code, f"{value!r} is taken{where} by {other.name!r}", property)

    return demand


def not_twice(properties: tuple[str, ...], code: str) -> Demand:
    """No other resource of this type has the same values for all the properties."""

    def demand(request: Request) -> Iterator[CloudError]:
        own = [request.inputs.get(name) for name in properties]
        for other in request.others():
            if own == [other.inputs.get(name) for name in properties]:
                text = f"{other.name!r} ({other.id}) says the same"
                yield CloudError(code, text, properties[-1])

    return demand


def protected(property: str, code: str) -> Demand:
    """A reason not to delete: the resource says so itself."""

    def demand(request: Request) -> Iterator[CloudError]:
        if request.inputs.get(property) in (True, "true"):
            text = f"{request.id} is protected against deletion; set {property} to false first"
            yield CloudError(code, text, property)

    return demand


# DNS


def _is_ipv4(value: str) -> bool:
    return _parses(ipaddress.IPv4Address, value)


def _is_ipv6(value: str) -> bool:
    return _parses(ipaddress.IPv6Address, value)


def _parses(kind: Callable[[str], Any], value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True


def _is_host(value: str) -> bool:
    return bool(_HOST_NAME.match(value)) and not _is_ipv4(value)


def _is_mail_host(value: str) -> bool:
    return _is_host(value.rsplit(" ", maxsplit=1)[-1])


def _is_service(value: str) -> bool:
    parts = value.split(" ")
    return len(parts) == 4 and all(map(str.isdecimal, parts[:3])) and _is_host(parts[3])


def _is_authority(value: str) -> bool:
    return bool(re.fullmatch(r'\d+ (issue|issuewild|iodef) "?[^"]*"?', value))


_VALUES: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "A": (_is_ipv4, "an IPv4 address"),
    "AAAA": (_is_ipv6, "an IPv6 address"),
    "CNAME": (_is_host, "a host name"),
    "NS": (_is_host, "a host name"),
    "MX": (_is_mail_host, "a mail host"),
    "SRV": (_is_service, "priority, weight, port and host"),
    "CAA": (_is_authority, "a number, a tag and a value"),
    "TXT": (lambda value: len(value) <= 4000, "at most 4000 characters"),
}


def record_value(kind: str, value: str) -> str:
    """Why a value does not suit a record type; empty when it does or the type is not known."""
    fits, meaning = _VALUES.get(kind, (lambda _value: True, ""))
    return "" if fits(value) else f"{value!r} is not {meaning}, which a record of type {kind} needs"


def record_type(property: str, types: tuple[str, ...]) -> Check:
    """`property` is a type of record that the cloud has."""

    def check(request: Request) -> Iterator[Problem]:
        found = request.known(property)
        if found is not None and found not in types:
            yield Problem(property, f"{found!r} is not one of {', '.join(types)}")

    return check


def record_suits(type: str, value: str) -> Check:
    """The input `value`, a text or a list of texts, suits the record's type."""

    def check(request: Request) -> Iterator[Problem]:
        kind, found = request.inputs.get(type), request.inputs.get(value)
        values = found if isinstance(found, list) else [found]
        for index, text in enumerate(values):
            if isinstance(text, str) and isinstance(kind, str):
                reason = record_value(kind, text)
                path = f"{value}[{index}]" if isinstance(found, list) else value
                if reason:
                    yield Problem(path, reason)

    return check


def minimum_ttl(property: str, seconds: int) -> Check:
    """The cloud's cheapest DNS edition; `Store.set_setting` lowers it for a paid one."""

    def check(request: Request) -> Iterator[Problem]:
        least = int(request.store.setting(f"{request.cloud}.minimum_ttl", str(seconds)))
        found = request.known(property)
        if found is not None and int(found) < least:
            text = f"{found} s is below the minimum of {least} s of this domain's DNS edition"
            yield Problem(property, text)

    return check


def alias_stands_alone(name: tuple[str, ...], type: str, code: str) -> Demand:
    """A CNAME is the only record of its name."""

    def demand(request: Request) -> Iterator[CloudError]:
        own = [request.inputs.get(key) for key in name]
        for other in request.others():
            kinds = {request.inputs.get(type), other.inputs.get(type)}
            same_name = own == [other.inputs.get(key) for key in name]
            if same_name and "CNAME" in kinds and len(kinds) > 1:
                text = f"{other.name!r} ({other.id}) has the same name; a CNAME stands alone"
                yield CloudError(code, text, type)

    return demand


# Objects


def content_md5(request: Request) -> str:
    """The entity tag of an object: MD5 of its content in hex; empty while it is unknown."""
    source = request.inputs.get("source")
    if isinstance(source, Asset):
        data = source.read()
    elif isinstance(source, str):
        data = Path(source).read_bytes()
    elif isinstance(request.inputs.get("contentBase64"), str):
        data = base64.b64decode(request.inputs["contentBase64"])
    else:
        data = str(request.inputs.get("content", "")).encode()
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def is_known(request: Request, *properties: str) -> bool:
    """Whether none of the inputs waits for another resource."""
    return not any(wire.has_unknown(request.inputs.get(name)) for name in properties)
