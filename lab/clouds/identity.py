"""Rules that the clouds' user managements share: RAM, CAM and IAM.

The lab's clouds draw access keys and keep their secrets in clear, as real ones do: a signature
cannot be checked without.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Iterator
from typing import Any, Final

from lab.checks import Problem
from lab.resource import CloudError
from lab.rules import Check, Demand, Request

CREATED: Final = "2026-01-01T00:00:00Z"
_MOST_KEYS: Final = 2  # of one user, at all three clouds


def word(prefix: str, length: int, letters: str = string.ascii_letters + string.digits) -> str:
    """A random word such as an access key's id: a prefix and `length` letters."""
    return prefix + "".join(secrets.choice(letters) for _ in range(length))


def policy_document(property: str, version: str, most: int) -> Check:
    """`property` is a policy of at most `most` characters in the cloud's language of a version."""

    def check(request: Request) -> Iterator[Problem]:
        text = request.known(property)
        if text is None:
            return
        reason = _fault(str(text), version)
        if len(str(text)) > most:
            reason = f"is longer than {most} characters"
        if reason:
            yield Problem(property, reason)

    return check


def _fault(text: str, version: str) -> str:
    """Why a text is no policy; empty when it is one."""
    try:
        found = json.loads(text)
    except ValueError as error:
        return f"is not JSON: {error}"
    if not isinstance(found, dict):
        return "is not a JSON object"
    document = {key.lower(): value for key, value in found.items()}
    if document.get("version") != version:
        return f"has no Version {version!r}"
    statements = document.get("statement")
    every = statements if isinstance(statements, list) else [statements]
    return next((reason for reason in map(_statement_fault, every) if reason), "")


def _statement_fault(statement: Any) -> str:
    if not isinstance(statement, dict):
        return "has no Statement"
    given = {key.lower(): value for key, value in statement.items()}
    if str(given.get("effect")).lower() not in {"allow", "deny"}:
        return "has a statement whose Effect is neither Allow nor Deny"
    missing = [key for key in ("action", "resource") if not given.get(key)]
    return f"has a statement without {missing[0]}" if missing else ""


def few_keys(user: str, code: str) -> Demand:
    """A user, named by the property `user`, has no more access keys than the cloud allows."""

    def demand(request: Request) -> Iterator[CloudError]:
        owner = request.inputs.get(user)
        held = [key for key in request.others() if key.inputs.get(user) == owner]
        if owner is not None and len(held) >= _MOST_KEYS:
            yield CloudError(code, f"{owner} has {_MOST_KEYS} access keys already", user)

    return demand
