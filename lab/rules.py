"""What a cloud demands beyond its schema: the vocabulary in which `lab.clouds` is written.

A `TypeRules` describes one resource type: what must be given, what it refers to, what forces a
replacement, which outputs the cloud fills in. Its checks are small functions of a `Request`:
`checks` look at the inputs only (they run in previews too, unknown values pass), `demands` may
look at everything the cloud holds (they run when the resource is made or changed).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab import wire
from lab.checks import Problem
from lab.resource import CloudError, Resource
from lab.store import Link, Store

GLOBAL: Final = "global"


@dataclass(frozen=True)
class Ref:
    """An input that names other resources.

    `path` is a property, a list of them ("securityGroups[]") or nested ("ingress[].groups[]").
    `types` are tokens of what it may name: by its id, or by the output after a "#"
    ("aws:ec2/keyPair:KeyPair#keyName"). `on_delete` says what deleting the *other* resource
    does: "refuse" while this one is there, "cascade" to this one, "keep" this one, or "content":
    refuse, unless the other one says it may be deleted with its content.
    """

    path: str
    types: tuple[str, ...]
    on_delete: str = "refuse"


@dataclass(frozen=True)
class Request:
    """A resource as asked for, and the cloud it is asked of.

    `inputs` are revealed. `id` is empty while the resource does not exist.
    """

    cloud: str
    region: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    store: Store
    rules: TypeRules
    cloud_rules: CloudRules
    id: str = ""

    def known(self, property: str) -> Any:
        """The input, or None when it is missing or not known yet."""
        value = self.inputs.get(property)
        return None if wire.has_unknown(value) else value

    def others(self, type: str | None = None) -> list[Resource]:
        """What the cloud has of a type in this region, this resource aside."""
        wanted = type or self.type
        return [
            found
            for found in self.store.all(self.cloud, wanted)
            if found.region == self.region and (found.type, found.id) != (self.type, self.id)
        ]

    def named(self, property: str) -> Resource | None:
        """The resource that a property names, if there is one."""
        for ref in self.rules.refs:
            if ref.path in {property, f"{property}[]"}:
                for _, value in pick(self.inputs, ref.path):
                    return self.find(ref, value)
        return None

    def find(self, ref: Ref, value: Any) -> Resource | None:
        """The resource of one of the ref's types that `value` names, in any region."""
        for type in ref.types:
            token, _, output = type.partition("#")
            if not output:
                found = self.store.get(self.cloud, token, str(value))
                if found:
                    return found
                continue
            for candidate in self.store.all(self.cloud, token):
                if _names(candidate.outputs.get(output), value) and self._is_near(candidate):
                    return candidate
        return None

    def _is_near(self, candidate: Resource) -> bool:
        """Names, unlike ids, mean something else in each region."""
        return candidate.region == self.region or GLOBAL in (candidate.region, self.region)


def _names(output: Any, value: Any) -> bool:
    found: bool = output == value or (isinstance(output, list) and value in output)
    return found


Check = Callable[[Request], Iterator[Problem]]
Demand = Callable[[Request], Iterator[CloudError]]
# From the request, the new id and the revealed inputs' echo to further outputs.
Outputs = Callable[[Request, str], Mapping[str, Any]]
Namer = Callable[[Request], str]


@dataclass(frozen=True)
class TypeRules:
    """What a cloud knows about one resource type."""

    id: Namer = lambda request: f"{request.type.split(':')[-1].lower()}-{random_hex(8)}"
    required: tuple[str, ...] = ()  # beyond the schema's; "a|b" means one of them
    replace: frozenset[str] = frozenset()  # inputs that force a new resource
    refs: tuple[Ref, ...] = ()
    checks: tuple[Check, ...] = ()
    demands: tuple[Demand, ...] = ()
    deletion: tuple[Demand, ...] = ()  # reasons not to delete
    outputs: Outputs = lambda _request, _id: {}  # decided once, when the resource is made
    derived: Outputs = lambda _request, _id: {}  # computed again by every update
    auto_name: str = ""  # input that gets "<name>-<7 hex digits>" when not given
    is_global: bool = False
    force: str = ""  # input that allows deletion with content


@dataclass(frozen=True)
class CloudRules:
    """What a cloud knows about itself."""

    zones: Mapping[str, tuple[str, ...]]  # region → its zones, as this cloud writes them
    types: Mapping[str, TypeRules]
    functions: Mapping[str, Callable[[Store, str, Mapping[str, Any]], Mapping[str, Any]]]
    region_hint: str  # how a person sets the region
    global_modules: tuple[str, ...] = ()  # token prefixes whose types have no region


def random_hex(digits: int) -> str:
    """Random hexadecimal digits, as in many clouds' ids."""
    return secrets.token_hex((digits + 1) // 2)[:digits]


def random_word(letters: int) -> str:
    """Random letters and digits, as in the other clouds' ids."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(letters))


def prefixed(prefix: str, make: Callable[[int], str], length: int) -> Namer:
    """Ids such as "vpc-0a1b2c": a prefix and `length` random characters."""
    return lambda _request: prefix + make(length)


def from_inputs(template: str) -> Namer:
    """Ids made of inputs: "{bucket}", "{zoneId}_{name}"; a missing input is empty text."""

    def name(request: Request) -> str:
        return re.sub(r"{(\w+)}", lambda found: _text(request.inputs.get(found[1])), template)

    return name


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def pick(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """(concrete path, value) of everything a path such as "ingress[].groups[]" reaches."""
    yield from _pick(values, path.split("."), "")


def _pick(value: Any, parts: list[str], where: str) -> Iterator[tuple[str, Any]]:
    if value is None or value is wire.UNKNOWN:
        return
    if not parts:
        yield where, value
        return
    if not isinstance(value, Mapping):
        return
    name, rest = parts[0].removesuffix("[]"), parts[1:]
    path = f"{where}.{name}" if where else name
    inner = value.get(name)
    if not parts[0].endswith("[]"):
        yield from _pick(inner, rest, path)
    elif isinstance(inner, list):
        for index, item in enumerate(inner):
            yield from _pick(item, rest, f"{path}[{index}]")


def missing_references(request: Request) -> Iterator[CloudError]:
    """References to what does not exist, or exists in another region."""
    for ref in request.rules.refs:
        for path, value in pick(request.inputs, ref.path):
            found = request.find(ref, value)
            kinds = " or ".join(dict.fromkeys(_kind(type) for type in ref.types))
            if found is None:
                text = f"{kinds} {value!r} does not exist in {request.cloud}"
                yield CloudError(_not_found(kinds), text, path)
            elif GLOBAL not in (found.region, request.region) and found.region != request.region:
                text = (
                    f"{kinds} {value!r} is in region {found.region}, "
                    f"but the call was made in {request.region}"
                )
                yield CloudError(_not_found(kinds), text, path)


def _kind(type: str) -> str:
    """ "security group" would do for a person; the token's last word is what they can search."""
    return type.partition("#")[0].split(":")[-1]


def _not_found(kinds: str) -> str:
    return f"Invalid{kinds.split(' ', maxsplit=1)[0]}.NotFound"


def links(request: Request) -> list[Link]:
    """Every existing resource the inputs refer to."""
    result = []
    for ref in request.rules.refs:
        for path, value in pick(request.inputs, ref.path):
            found = request.find(ref, value)
            if found:
                result.append(Link(path, found.type, found.id))
    return result


def ref_for(rules: TypeRules, path: str) -> Ref | None:
    """The reference that a concrete path such as "securityGroups[0]" belongs to."""
    general = re.sub(r"\[\d+\]", "[]", path)
    return next((ref for ref in rules.refs if ref.path == general), None)


def missing_inputs(rules: TypeRules, inputs: Mapping[str, Any]) -> Iterator[Problem]:
    """What the API needs though the SDK does not ask for it."""
    for wanted in rules.required:
        names = wanted.split("|")
        if all(inputs.get(name) in (None, "") for name in names):
            others = f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
            yield Problem(names[0], f"is required by the cloud's API{others}")
