"""What a guard needs to know, read from /etc/mesh/guard.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Final

MARGIN_SECONDS: Final = 0.3  # a look every 0.1 s, and the kill
# A host may take 2 s to doubt the database, 1 s to say so, and 1 s more passes until it is read:
# sooner, two hosts that are both cut off would each believe that the other one is not.
DATABASE_SECONDS: Final = 4.5
STOP_SECONDS: Final = 5.0  # the guard does nothing else meanwhile, and must not seem stuck


class ConfigError(Exception):
    """A configuration that cannot be used; says which file, key and value."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds. Headscale is dead `margin` before the lease can end elsewhere."""

    lease: int = 5  # how long a silent holder keeps the lease
    margin: float = 1.0
    renew: float = 1.0  # between two renewals, at each voter
    hung: float = 5.0  # a server that does not answer for so long is killed
    start: float = 120.0  # what a server may take to answer first; migrations run then
    stop: float = 1.0  # what a server may take to end on request
    database: float = 5.0  # the other host's turn when only this one cannot reach the database
    rest: float = 5.0  # after a crash loop: the other host's turn
    crashes: int = 3  # so many ends of the server...
    crash_window: float = 60.0  # ...within so long are a crash loop


@dataclass(frozen=True, kw_only=True)
class Config:
    """One guard. Paths are absolute; `endpoints` are etcd's URLs, one a voter.

    `database` is a libpq connection string without a password, which `password_file` holds.
    """

    host: str
    peers: tuple[str, ...]  # the other control hosts, if any
    endpoints: tuple[str, ...]
    prefix: str  # of all keys in etcd, such as /mesh/headscale
    ca: str
    certificate: str
    key: str
    database: str
    password_file: str
    command: tuple[str, ...]  # runs the server in the foreground
    probe: str  # URL that the server answers while it works
    probe_name: str  # the name in its certificate
    metrics_address: str
    metrics_port: int
    status_file: str
    hold_socket: str  # where root asks it to leave the server stopped for a moment
    timing: Timing = Timing()


def load(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError, which tells all that is wrong."""
    values = read(path, Config, "timing", Timing)
    refuse(path, _wrong_together(values["timing"]))
    return Config(**values)


def read(path: Path, model: type[Any], inner: str, inner_model: type[Any]) -> dict[str, Any]:
    """The fields of a dataclass from a file of JSON; `inner` is one that is a dataclass too, of
    whose fields none must be there. Raises ConfigError, which tells all that is wrong.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    wrong = list(_wrong(values, model, ""))
    within = values.get(inner, {}) if isinstance(values, dict) else {}
    if isinstance(within, dict):
        wrong += _wrong(within, inner_model, f"{inner}.")
    refuse(path, wrong)
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return {**values, **lists, inner: inner_model(**within)}


def refuse(path: Path, wrong: Iterable[str]) -> None:
    """Raises ConfigError when anything is wrong."""
    lines = [f"{path}: {line}" for line in wrong]
    if lines:
        raise ConfigError("\n".join(lines))


def _wrong(values: Any, model: type[Any], prefix: str) -> Iterator[str]:
    """What is wrong with each value by itself."""
    if not isinstance(values, dict):
        yield f"{prefix.rstrip('.') or 'all of it'}: must be an object"
        return
    known = {field.name: field for field in fields(model)}
    for name in sorted(values.keys() - known.keys()):
        yield f"{prefix}{name}: no such key; there are {', '.join(known)}"
    for name, field in known.items():
        if name in values:
            allowed, fits = _KINDS[str(field.type)]
            if not fits(values[name]):
                yield f"{prefix}{name}: {json.dumps(values[name])}: must be {allowed}"
        elif field.default is MISSING:
            yield f"{prefix}{name}: missing"


def _wrong_together(timing: Timing) -> Iterator[str]:
    least = timing.margin + 2 * timing.renew
    if timing.lease < least:
        yield (
            f"timing.lease: {timing.lease}: must be at least {least:g}, "
            f"{timing.margin:g} (margin) and two renewals of {timing.renew:g}"
        )
    if timing.margin < MARGIN_SECONDS:
        yield f"timing.margin: {timing.margin:g}: must be at least {MARGIN_SECONDS:g}"
    if timing.database < DATABASE_SECONDS:
        yield f"timing.database: {timing.database:g}: must be at least {DATABASE_SECONDS:g}"
    if timing.stop > STOP_SECONDS:
        yield f"timing.stop: {timing.stop:g}: must be at most {STOP_SECONDS:g}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_whole(value: object) -> bool:
    return _is_number(value) and isinstance(value, int)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(one) for one in value)


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(one) for one in value.values())


def _is_map_of_lists(value: object) -> bool:
    return isinstance(value, dict) and all(_are_texts(one) and one for one in value.values())


# By the annotation of a field.
_KINDS: Final[dict[str, tuple[str, Callable[[object], bool]]]] = {
    "str": ("a text", _is_text),
    "int": ("a whole number above 0", _is_whole),
    "float": ("a number above 0", _is_number),
    "tuple[str, ...]": ("a list of texts", _are_texts),
    "dict[str, str]": ("an object of texts", _is_map),
    "dict[str, list[str]]": ("an object of lists of texts", _is_map_of_lists),
    "Timing": ("an object", lambda value: isinstance(value, dict)),
    "Rules": ("an object", lambda value: isinstance(value, dict)),
}
