"""What policies allow: one evaluator for RAM, CAM and IAM, whose languages are one in essence.

Refused is whatever no statement allows, and what any statement denies. A condition that is not
known here never lets anything pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

Context = Mapping[str, Sequence[str]]  # what conditions speak of: key → values of the request


def allows(
    policies: Iterable[str], action: str, resource: str, context: Context | None = None
) -> bool:
    """Whether the documents let "service:Action" happen to a resource."""
    statements = [found for policy in policies for found in _statements(policy)]
    effects = {
        str(statement["effect"]).lower()
        for statement in statements
        if _speaks_of(statement, action, resource)
        and _holds(statement.get("condition") or {}, context or {}, statement)
    }
    return effects == {"allow"}


def _statements(policy: str) -> list[Mapping[str, Any]]:
    document = {key.lower(): value for key, value in json.loads(policy).items()}
    return [
        {key.lower(): value for key, value in statement.items()}
        for statement in _list(document["statement"])
    ]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _speaks_of(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    actions = [str(found).removeprefix("name/").lower() for found in _list(statement.get("action"))]
    resources = map(str, _list(statement.get("resource")))
    named = any(_matches(pattern, action.lower()) for pattern in actions)
    return named and any(_matches(pattern, resource) for pattern in resources)


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern of `*` and `?` covers the whole text."""
    words = {"*": ".*", "?": "."}
    regex = "".join(words.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(regex, text, re.DOTALL) is not None


def _equals(pattern: str, text: str) -> bool:
    return pattern == text


_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "StringEquals": _equals,
    "StringLike": _matches,
}
# How many of the request's values must pass, by the prefix of an operator.
_QUANTIFIERS: Final[Mapping[str, Callable[[Iterable[bool]], bool]]] = {
    "ForAllValues": all,
    "ForAnyValue": any,
    "": any,  # a key with one value
}


def _holds(conditions: Mapping[str, Any], context: Context, statement: Mapping[str, Any]) -> bool:
    """Whether all conditions of a statement hold; unknown ones do where it denies."""
    for operator, wanted in conditions.items():
        quantifier, _, name = operator.rpartition(":")
        test, several = _TESTS.get(name), _QUANTIFIERS.get(quantifier)
        if test is None or several is None:
            return str(statement["effect"]).lower() == "deny"
        for key, patterns in wanted.items():
            if not several(_passes(test, patterns, value) for value in context.get(key, ())):
                return False
    return True


def _passes(test: Callable[[str, str], bool], patterns: Any, value: str) -> bool:
    return any(test(str(pattern), value) for pattern in _list(patterns))
