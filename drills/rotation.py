"""A key is replaced while machines join by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drills import newcomer
from drills.client import Client
from drills.live import Live
from drills.newcomer import Attempt, Newcomers
from lab.world.command import until

EACH: Final = 3  # joins before, and at least after, the rotation
_WITHIN: Final = 240.0  # s for those


@dataclass(frozen=True)
class Rotation:
    """What became of the joins."""

    by_old_key: tuple[Attempt, ...]  # before, during and after the rotation
    by_new_key: tuple[Attempt, ...]
    replaced: bool  # whether the key is another one now

    @property
    def failed(self) -> list[str]:
        """What was said to those that did not get in."""
        every = (*self.by_old_key, *self.by_new_key)
        return [attempt.said for attempt in every if not attempt.registered]


def under_joins(live: Live, client: Client, name: str) -> Rotation:
    """Rotate the reusable key `name` while new machines join by the one that an installer holds.

    Their nodes are removed afterwards.
    """
    held = _key(live, name)
    try:
        joins = Newcomers(client, live.url, held)
        joins.start()
        try:
            _await(joins, EACH)
            live.registry("keys", "rotate", name, "--force")
            _await(joins, len(joins.attempts) + 1 + EACH)  # one may have begun before
        finally:
            joins.stop()
        fresh = _key(live, name)
        later = Newcomers(client, live.url, fresh)
        later.start()
        try:
            _await(later, EACH)
        finally:
            later.stop()
    finally:
        live.remove_nodes((), prefix=newcomer.PREFIX)
    return Rotation(tuple(joins.attempts), tuple(later.attempts), fresh != held)


def _key(live: Live, name: str) -> str:
    return str(live.registry("keys", "show", name)["key"])


def _await(joins: Newcomers, count: int) -> None:
    until(
        lambda: len(joins.attempts) >= count,
        within=_WITHIN,
        what=f"{count} joins",
        seen=lambda: f"{len(joins.attempts)} joins",
        poll=0.2,
    )
