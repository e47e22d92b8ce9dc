"""What people see: tables in the terminal, or the same as JSON."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE: Final = 400  # columns into a pipe: a row stays on its line

_COLOURS: Final = {
    "healthy": "green", "ok": "green", "active": "green", "in": "green",
    "degraded": "yellow", "OUT": "yellow",
    "down": "bold red", "-": "dim",
}  # fmt: skip


def console(*, error: bool = False) -> Console:
    """Where tables go."""
    stream = sys.stderr if error else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _WIDE)


def line(text: str = "") -> None:
    """One line of text on standard output, as it stands."""
    print(text)


def note(text: str) -> None:
    """One line for people only, on standard error."""
    print(text, file=sys.stderr)


def as_json(value: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, nothing: str = "none") -> None:
    """Rows below their head; the text of `nothing` without any."""
    made = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    if made.row_count:
        console().print(made)
    else:
        line(nothing)


def coloured(text: str) -> None:
    """One line that begins with a word of state."""
    word = text.split(":")[0].split()[0]
    console().print(Text(text, style=_COLOURS.get(word, "")))


def _cell(value: object) -> Text:
    text = words(value)
    return Text(text, style=_COLOURS.get(text, ""))


def words(value: object) -> str:
    """A value as people read it."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(words(part) for part in value)
    return str(value)


def moment(value: Any) -> str:
    """A time in UTC to the minute, from seconds since 1970 or ISO 8601; other text as it is."""
    if value in (None, "", 0):
        return "-"
    try:
        if isinstance(value, int | float):
            found = datetime.datetime.fromtimestamp(value, datetime.UTC)
        else:
            found = datetime.datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return str(value)
    return found.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%MZ")


def span(seconds: float | None) -> str:
    """How long, roughly."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
