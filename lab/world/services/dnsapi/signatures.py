"""The three signatures: ACS3 (Alibaba Cloud), TC3 (Tencent Cloud), AWS4.

All three hash a canonical form of the request and sign the hash with a key made of the secret.
`sign` computes what the header should say; `read` takes the header apart.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote

from lab.world.services.dnsapi.call import Call

ACS3: Final = "ACS3-HMAC-SHA256"
TC3: Final = "TC3-HMAC-SHA256"
AWS4: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Authorization:
    """A header "ALGORITHM Credential=<key>[/<scope>],SignedHeaders=a;b,Signature=<hex>"."""

    algorithm: str
    key: str
    scope: tuple[str, ...]
    signed: tuple[str, ...]  # names of headers
    signature: str


def read(header: str) -> Authorization | None:
    """The header taken apart; None when it is not of that form."""
    algorithm, _, rest = header.partition(" ")
    fields = dict(re.findall(r"(\w+)=([^,\s]+)", rest))
    if not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        return None
    key, *scope = fields["Credential"].split("/")
    signed = tuple(fields["SignedHeaders"].split(";"))
    return Authorization(algorithm, key, tuple(scope), signed, fields["Signature"])


def is_signed(call: Call, given: Authorization, secret: str, must: Sequence[str]) -> bool:
    """Whether the header's signature is the secret's, over the `must` headers at least."""
    if not set(must) <= set(given.signed):
        return False
    return hmac.compare_digest(sign(call, given, secret), given.signature)


def sign(call: Call, given: Authorization, secret: str) -> str:
    """The signature of a call, by the algorithm, scope and headers that `given` names."""
    makers = {ACS3: _acs3, TC3: _tc3, AWS4: _aws4}
    return makers[given.algorithm](call, given, secret)


def _acs3(call: Call, given: Authorization, secret: str) -> str:
    text = f"{ACS3}\n{_hash(_canonical(call, given, _path(call.path)))}"
    return _mac(secret.encode(), text).hex()


def _tc3(call: Call, given: Authorization, secret: str) -> str:
    key = f"TC3{secret}".encode()
    for word in given.scope:  # date, service, tc3_request
        key = _mac(key, word)
    hashed = _hash(_canonical(call, given, "/"))
    stamp = call.header("x-tc-timestamp")
    return _mac(key, "\n".join((TC3, stamp, "/".join(given.scope), hashed))).hex()


def _aws4(call: Call, given: Authorization, secret: str) -> str:
    key = f"AWS4{secret}".encode()
    for word in given.scope:  # date, region, service, aws4_request
        key = _mac(key, word)
    # Paths are escaped once more than they were sent, by every service but S3.
    hashed = _hash(_canonical(call, given, _path(call.path)))
    stamp = call.header("x-amz-date")
    return _mac(key, "\n".join((AWS4, stamp, "/".join(given.scope), hashed))).hex()


def _canonical(call: Call, given: Authorization, path: str) -> str:
    pairs = sorted(parse_qsl(call.query, keep_blank_values=True))
    query = "&".join(f"{_escape(key)}={_escape(value)}" for key, value in pairs)
    headers = "".join(f"{name}:{_squeezed(call.header(name))}\n" for name in given.signed)
    body = hashlib.sha256(call.body).hexdigest()
    return "\n".join((call.method, path, query, headers, ";".join(given.signed), body))


def _path(sent: str) -> str:
    return quote(sent or "/", safe="/-_.~")


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")


def _squeezed(value: str) -> str:
    return " ".join(value.split())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
