"""Sets of ports, as a policy writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LAST: Final = 65535


@dataclass(frozen=True)
class Ports:
    """Ranges of ports, ends included, in order and apart: equal sets are equal values."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Ports:
        """The set that ranges in any order make up."""
        made: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if made and first <= made[-1][1] + 1:
                made[-1] = (made[-1][0], max(last, made[-1][1]))
            else:
                made.append((first, last))
        return cls(tuple(made))

    @classmethod
    def parse(cls, text: str) -> Ports:
        """The set in "22", "80,443", "8000-8100" or "*". Raises ValueError with the reason."""
        if text == "*":
            return ALL
        return cls.of(_range(part) for part in text.split(","))

    def __contains__(self, port: int) -> bool:
        return any(first <= port <= last for first, last in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __or__(self, other: Ports) -> Ports:
        return Ports.of((*self.ranges, *other.ranges))

    def without(self, other: Ports) -> Ports:
        """What is in this set and not in the other."""
        left = list(self.ranges)
        for low, high in other.ranges:
            left = [
                part
                for first, last in left
                for part in ((first, min(last, low - 1)), (max(first, high + 1), last))
                if part[0] <= part[1]
            ]
        return Ports.of(left)

    def __str__(self) -> str:
        if self == ALL:
            return "*"
        return ",".join(
            str(first) if first == last else f"{first}-{last}" for first, last in self.ranges
        )


ALL: Final = Ports(((0, LAST),))


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [_port(first), _port(last if dash else first)]
    if numbers[0] > numbers[1]:
        raise ValueError(f"the range {text} runs backwards")
    return numbers[0], numbers[1]


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no port" if text else "a port is missing")
    if not 1 <= int(text) <= LAST:
        raise ValueError(f"port {text} does not exist; ports are 1 to {LAST}")
    return int(text)
