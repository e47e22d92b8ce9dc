"""Property values between the engine's protobuf form and plain Python.

A value is None, bool, int, float, str, list, dict, `Asset`, or one of two wrappers: `UNKNOWN`
stands for what a preview cannot know yet, `Secret` marks what the engine keeps encrypted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab import stubs
from lab.resource import Asset

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# One marker per kind of unknown value; the engine uses any of them for "computed".
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN,  # string
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class _Unknown:
    """A value that a preview cannot know."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return True  # unknown is not missing


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the engine keeps encrypted in its state and hides in its output."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(…)"


def decode(message: Any) -> dict[str, Any]:
    """The properties of a protobuf Struct; null properties are left out, as the engine does."""
    found = {key: _decode(value) for key, value in message.fields.items()}
    return {key: value for key, value in found.items() if value is not None}


def _decode(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in _UNKNOWNS else text
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None


def _decode_struct(message: Any) -> Any:
    fields = {key: _decode(value) for key, value in message.fields.items()}
    signature = fields.get(SIGNATURE)
    if signature == _SECRET:
        return Secret(fields.get("value"))
    if signature == _ASSET:
        path = fields.get("path") or None
        return Asset(
            path=str(Path(path).absolute()) if path else None,
            text=None if path else fields.get("text", ""),
            hash=fields.get("hash", ""),
        )
    return fields


def encode(properties: Mapping[str, Any]) -> Any:
    """A protobuf Struct of the properties; those that are None are left out."""
    message = stubs.struct.Struct()
    for key, value in properties.items():
        if value is not None:
            _encode(value, message.fields[key])
    return message


def _encode(value: Any, into: Any) -> None:
    if value is None:
        into.null_value = 0
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int | float):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif value is UNKNOWN:
        into.string_value = _UNKNOWN
    elif isinstance(value, Secret):
        _encode_fields({SIGNATURE: _SECRET, "value": value.value}, into)
    elif isinstance(value, Asset):
        content = {"path": value.path} if value.path else {"text": value.text}
        _encode_fields({SIGNATURE: _ASSET, "hash": value.hash, **content}, into)
    elif isinstance(value, Mapping):
        _encode_fields(value, into)
    else:
        into.list_value.SetInParent()  # an empty list is a list, not null
        for item in value:
            _encode(item, into.list_value.values.add())


def _encode_fields(fields: Mapping[str, Any], into: Any) -> None:
    into.struct_value.SetInParent()
    for key, value in fields.items():
        _encode(value, into.struct_value.fields[key])


def reveal(value: Any) -> Any:
    """The same value without `Secret` wrappers at any depth."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether anything in the value is not known yet."""
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def has_secret(value: Any) -> bool:
    """Whether anything in the value is secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, Mapping):
        return any(has_secret(item) for item in value.values())
    return isinstance(value, list) and any(has_secret(item) for item in value)


def same(left: Any, right: Any) -> bool:
    """Equal but for secret marks; assets are equal when their content is."""
    return bool(_comparable(left) == _comparable(right))


def _comparable(value: Any) -> Any:
    if isinstance(value, Secret):
        return _comparable(value.value)
    if isinstance(value, Asset):
        return ("asset", value.digest())
    if isinstance(value, Mapping):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, bool):
        return ("bool", value)  # True == 1 in Python, not in a cloud
    return value
