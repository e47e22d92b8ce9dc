"""What the guard asks of etcd, through its JSON gateway.

https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/: keys and values are base64, 64-bit
numbers are strings, and zeros are left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

ANSWER_SECONDS: Final = 1.0  # a voter without a quorum does not answer at all


class EtcdError(Exception):
    """No voter gave a usable answer."""


@dataclass(frozen=True)
class Entry:
    """A key's value, with the lease that it hangs on (0: none), and the revision that set it."""

    value: str
    lease: int
    revision: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Remaining:
    """Of a lease: whole seconds left, rounded down (-1: it has ended), and of how many."""

    seconds: int
    granted: int


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Paths of PEM files: the authority of the voters, and what this client shows them."""

    ca: str
    certificate: str
    key: str


class Etcd:
    """A client that asks one voter after the other; not for use by two threads at once."""

    def __init__(
        self, endpoints: Sequence[str], trust: Trust, timeout: float = ANSWER_SECONDS
    ) -> None:
        self._endpoints = list(endpoints)
        self._pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED",
            ca_certs=trust.ca,
            cert_file=trust.certificate,
            key_file=trust.key,
            timeout=urllib3.Timeout(total=timeout),
            retries=False,
        )

    def read(self, key: str) -> Entry | None:
        """The key as a quorum has it. Raises EtcdError, like every method here."""
        return _entry(self._ask("kv/range", {"key": _b64(key)}))

    def read_all(self, keys: Sequence[str]) -> list[Entry | None]:
        """Several keys as a quorum has them at one revision, in their order."""
        wanted = [{"request_range": {"key": _b64(key)}} for key in keys]
        answers = self._ask("kv/txn", {"success": wanted})["responses"]
        return [_entry(answer["response_range"]) for answer in answers]

    def remaining(self, lease: int) -> Remaining:
        """How long a lease lives without being renewed."""
        answer = self._ask("lease/timetolive", {"ID": lease})
        return Remaining(int(answer.get("TTL", 0)), int(answer.get("grantedTTL", 0)))

    def grant(self, seconds: int) -> int:
        """A new lease."""
        return int(self._ask("lease/grant", {"TTL": seconds})["ID"])

    def renew(self, lease: int) -> bool:
        """Whether the lease lives, for its whole time again."""
        answer = self._ask("lease/keepalive", {"ID": lease})
        if "result" not in answer:  # a stream: what goes wrong late comes with status 200
            raise EtcdError(str(answer)[:200])
        return int(answer["result"].get("TTL", 0)) > 0

    def revoke(self, lease: int) -> None:
        """End the lease and remove its keys; nothing happens when it has ended."""
        self._ask("lease/revoke", {"ID": lease}, gone_is_fine=True)

    def create(self, key: str, value: str, lease: int) -> int | None:
        """Set a key that does not exist; its revision, or None when it exists."""
        absent = {"key": _b64(key), "target": "CREATE", "create_revision": "0"}
        put = {"key": _b64(key), "value": _b64(value), "lease": lease}
        answer = self._ask("kv/txn", {"compare": [absent], "success": [{"request_put": put}]})
        return int(answer["header"]["revision"]) if answer.get("succeeded") else None

    def put(self, key: str, value: str, lease: int) -> None:
        """Set a key that goes with the lease."""
        self._ask("kv/put", {"key": _b64(key), "value": _b64(value), "lease": lease})

    def remove(
        self, key: str, unchanged: Mapping[str, int], touched: Mapping[str, str] | None = None
    ) -> bool:
        """Delete a key, and set those in `touched` after it, all at once; but only if each key in
        `unchanged` was last set at that revision (0: it is not there). Whether that was so.
        """
        compare = [
            {"key": _b64(name), "target": "MOD", "mod_revision": str(revision)}
            for name, revision in unchanged.items()
        ]
        done: list[dict[str, Any]] = [{"request_delete_range": {"key": _b64(key)}}]
        done += [
            {"request_put": {"key": _b64(name), "value": _b64(value)}}
            for name, value in (touched or {}).items()
        ]
        return bool(self._ask("kv/txn", {"compare": compare, "success": done}).get("succeeded"))

    def _ask(
        self, path: str, body: dict[str, Any], *, gone_is_fine: bool = False
    ) -> dict[str, Any]:
        """The answer of the first voter that has one, beginning with the last that had."""
        said = []
        for endpoint in list(self._endpoints):
            try:
                answer = self._pool.request(
                    "POST", f"{endpoint}/v3/{path}", body=json.dumps(body).encode()
                )
            except urllib3.exceptions.HTTPError as error:
                said.append(f"{endpoint}: {type(error).__name__}")
            else:
                if answer.status == 200:
                    found: dict[str, Any] = json.loads(answer.data)
                    return found
                if gone_is_fine and answer.status == 404:
                    return {}
                said.append(f"{endpoint}: {answer.status} {answer.data.decode()[:200]}")
            self._endpoints.append(self._endpoints.pop(0))
        raise EtcdError("; ".join(sorted(said)))


def _entry(answer: Mapping[str, Any]) -> Entry | None:
    found = answer.get("kvs")
    if not found:
        return None
    value = base64.b64decode(found[0].get("value", "")).decode()
    return Entry(value, int(found[0].get("lease", 0)), int(found[0]["mod_revision"]))


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
