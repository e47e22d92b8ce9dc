"""What the command, random and tls providers share: everything they know is in Pulumi's state.

A type is a `Kind`: its `create` computes outputs from inputs. Read gives back what it is given,
so a refresh finds no drift, and no secret of theirs is ever on the lab's disk.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab import checks, provider, schema, wire
from lab.checks import Problem
from lab.provider import Changes, Properties, Target
from lab.resource import CloudError


@dataclass(frozen=True)
class Kind:
    """One resource type of a stateless provider."""

    create: Callable[[Properties], Properties]  # revealed inputs → outputs; "id" among them
    defaults: Mapping[str, Any] = field(default_factory=dict)
    in_place: frozenset[str] = frozenset()  # inputs whose change does not replace
    rule: Callable[[Properties], list[Problem]] = lambda _inputs: []
    expired: Callable[[Properties], str | None] = lambda _outputs: None  # output that says so


class Stateless:
    """A handler for a table of kinds, by Pulumi token."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds

    def check_config(self, inputs: Properties) -> list[Problem]:
        return []

    def configure(self, inputs: Properties) -> None:
        return None

    def cancel(self) -> None:
        return None

    def check(
        self, target: Target, olds: Properties, news: Properties
    ) -> tuple[Properties, list[Problem]]:
        found = schema.resource(target.type)
        kind = self._kinds.get(target.type)
        if found is None or kind is None:
            return news, [Problem("", "the lab does not simulate this resource type")]
        plain = wire.reveal(news)
        problems = list(checks.problems(found, plain))
        if not problems and not wire.has_unknown(plain):
            problems = kind.rule({**kind.defaults, **plain})
        return news, problems

    def diff(
        self, target: Target, old_inputs: Properties, outputs: Properties, news: Properties
    ) -> Changes:
        kind = self._kinds[target.type]
        kinds = provider.compare(old_inputs, news)
        replaces = [path for path in kinds if provider.root(path) not in kind.in_place]
        expired = kind.expired(wire.reveal(outputs))
        if expired:
            kinds[expired] = "update"
            replaces.append(expired)
        return Changes(kinds, tuple(replaces))

    def create(
        self, target: Target, inputs: Properties, *, partial: str | None
    ) -> tuple[str, Properties]:
        if target.preview:
            return "", inputs
        kind = self._kinds[target.type]
        settled = {**kind.defaults, **wire.reveal(inputs)}
        outputs = {**kind.defaults, **kind.create(settled)}
        id = outputs.pop("id", None) or secrets.token_hex(8)
        result = {**_marked(target.type, outputs), **inputs}
        if partial is not None:
            raise provider.InitFailedError(id, inputs, result, partial)
        return id, result

    def read(
        self, target: Target, id: str, inputs: Properties, outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        if not outputs:
            raise CloudError("NotSupported", "the lab cannot import what has no cloud behind it")
        return inputs, outputs

    def update(self, target: Target, id: str, outputs: Properties, news: Properties) -> Properties:
        kind = self._kinds[target.type]
        kept = {key: value for key, value in outputs.items() if key not in kind.in_place}
        return {**kind.defaults, **_marked(target.type, kept), **news}

    def delete(self, target: Target, id: str, outputs: Properties) -> None:
        return None

    def invoke(self, token: str, args: Properties) -> Properties:
        raise CloudError("NotSupported", f"the lab does not simulate the function {token}")


def _marked(type: str, outputs: Properties) -> Properties:
    """The outputs with those the SDK calls secret marked as such."""
    found = schema.resource(type)
    hidden = found.secrets if found else ()
    return {
        key: wire.Secret(value) if key in hidden and not wire.has_secret(value) else value
        for key, value in outputs.items()
    }
