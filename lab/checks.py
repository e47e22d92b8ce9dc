"""Inputs against a schema: unknown names, missing ones, wrong kinds, each named by its path."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab import schema, wire
from lab.resource import Asset


@dataclass(frozen=True)
class Problem:
    """What is wrong with one property; `property` is a path such as "ingress[0].fromPort"."""

    property: str
    reason: str


def problems(found: schema.Schema, inputs: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with the (revealed) inputs; unknown values pass."""
    yield from _fields(found, found.inputs, inputs, "")


def _fields(
    found: schema.Schema, fields: schema.Fields, values: Mapping[str, Any], prefix: str
) -> Iterator[Problem]:
    for name, value in values.items():
        if name in fields.shapes:
            yield from _value(found, fields.shapes[name], value, f"{prefix}{name}")
        elif name != "__defaults":  # the SDKs' own note of which values are defaults
            yield Problem(f"{prefix}{name}", _unknown_name(name, fields))
    for name in fields.required:
        if values.get(name) is None:
            yield Problem(f"{prefix}{name}", "is required, but no value was given")


def _unknown_name(name: str, fields: schema.Fields) -> str:
    near = difflib.get_close_matches(name, fields.shapes, n=1)
    return "is not an input of this type" + (f"; did you mean {near[0]!r}?" if near else "")


def _value(found: schema.Schema, shape: schema.Shape, value: Any, path: str) -> Iterator[Problem]:
    if value is None or value is wire.UNKNOWN or shape.kind == "any":
        return
    if not _FITS[shape.kind](value):
        yield Problem(path, f"expected {_describe(shape)}, got {_show(value)}")
    elif shape.kind == "list" and shape.item:
        for index, item in enumerate(value):
            yield from _value(found, shape.item, item, f"{path}[{index}]")
    elif shape.kind == "map" and shape.item:
        for key, item in value.items():
            yield from _value(found, shape.item, item, f"{path}.{key}")
    elif shape.kind == "object" and shape.object in found.objects:
        yield from _fields(found, found.objects[shape.object], value, f"{path}.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float)  # providers turn numbers and flags into text


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or value in {"true", "false"}


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.lstrip("-").replace(".", "", 1).isdecimal()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


_FITS: Final[dict[str, Callable[[Any], bool]]] = {
    "string": _is_text,
    "bool": _is_flag,
    "int": _is_whole,
    "number": _is_number,
    "asset": lambda value: isinstance(value, Asset | Mapping),  # an archive stays a mapping
    "list": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, Mapping),
    "object": lambda value: isinstance(value, Mapping),
}


def _describe(shape: schema.Shape) -> str:
    names = {"string": "text", "bool": "true or false", "int": "a whole number", "list": "a list"}
    return names.get(shape.kind, f"a {shape.kind}")


def _show(value: Any) -> str:
    """The kind of a value; its content may be a secret, so only plain numbers are shown."""
    kinds = {str: "text", bool: "a flag", list: "a list", dict: "a map", Asset: "an asset"}
    return kinds.get(type(value), repr(value))
