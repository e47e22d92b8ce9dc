"""HuJSON (JSON with comments and trailing commas) with the line of every element.

No library for Python is both kept up and tells lines, so this is a small reader of our own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Path = tuple[str | int, ...]  # ("acls", 3, "dst", 0)

_TOKEN: Final = re.compile(
    r"""(?P<space>(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)+)
      | (?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")
      | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<word>true|false|null)
      | (?P<mark>[\[\]{},:])""",
    re.VERBOSE | re.DOTALL,
)
_DEEPEST: Final = 64  # levels; a policy has five, and the reader calls itself


class HujsonError(ValueError):
    """A text that is not HuJSON: `line` counts from 1, `reason` says what was expected."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Document:
    """A value, and where its parts were written.

    Of a key that is written twice the last value counts; `repeated` has the line before it.
    """

    value: Any
    lines: Mapping[Path, int]
    repeated: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of an element, or of the nearest thing around it that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """The document in `text`. Raises HujsonError."""
    return _Reader(_tokens(text)).document()


@dataclass(frozen=True)
class _Token:
    kind: str  # string, number, word, a mark itself, or "end"
    text: str
    line: int


def _tokens(text: str) -> list[_Token]:
    tokens, at, line = [], 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise HujsonError(line, _strange(text, at))
        kind, words = str(found.lastgroup), found.group()
        if kind != "space":
            tokens.append(_Token(words if kind == "mark" else kind, words, line))
        line += words.count("\n")
        at = found.end()
    return [*tokens, _Token("end", "the end of the text", line)]


def _strange(text: str, at: int) -> str:
    if text.startswith("/*", at):
        return "the comment that begins here never ends"
    if text[at] == '"':
        return "the string that begins here never ends, or holds a control character"
    return f"unexpected {text[at]!r}"


@dataclass
class _Reader:
    tokens: list[_Token]
    at: int = 0
    lines: dict[Path, int] = field(default_factory=dict)
    repeated: dict[Path, int] = field(default_factory=dict)

    def document(self) -> Document:
        value = self._value(())
        self._take("end", "nothing more")
        return Document(value=value, lines=self.lines, repeated=self.repeated)

    def _take(self, kind: str, wanted: str) -> _Token:
        token = self.tokens[self.at]
        if token.kind != kind:
            raise HujsonError(token.line, f"expected {wanted}, found {token.text}")
        self.at += 1
        return token

    def _value(self, path: Path) -> Any:
        token = self.tokens[self.at]
        if len(path) > _DEEPEST:
            raise HujsonError(token.line, f"nested more than {_DEEPEST} levels deep")
        self.lines.setdefault(path, token.line)
        if token.kind == "{":
            return self._object(path)
        if token.kind == "[":
            return self._array(path)
        if token.kind not in ("string", "number", "word"):
            raise HujsonError(token.line, f"expected a value, found {token.text}")
        self.at += 1
        try:
            return json.loads(token.text)
        except json.JSONDecodeError as error:
            raise HujsonError(token.line, error.msg.lower()) from None

    def _object(self, path: Path) -> dict[str, Any]:
        self._take("{", "{")
        made: dict[str, Any] = {}
        while self.tokens[self.at].kind != "}":
            token = self._take("string", 'a key in "…" or }')
            key = json.loads(token.text)
            if key in made:
                self.repeated[(*path, key)] = self.lines[(*path, key)]
            self.lines[(*path, key)] = token.line
            self._take(":", "a colon after the key")
            made[key] = self._value((*path, key))
            if self.tokens[self.at].kind != "}":
                self._take(",", "a comma or }")
        self.at += 1
        return made

    def _array(self, path: Path) -> list[Any]:
        self._take("[", "[")
        made: list[Any] = []
        while self.tokens[self.at].kind != "]":
            made.append(self._value((*path, len(made))))
            if self.tokens[self.at].kind != "]":
                self._take(",", "a comma or ]")
        self.at += 1
        return made
