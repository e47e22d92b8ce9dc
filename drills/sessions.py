"""What each database host sees of itself: is it primary, is the standby in sync, who could write.

One psql a host, over the unix socket in the host, so that no cut of the network blinds it.
"""

from __future__ import annotations

import json
import selectors
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drills.inside import PSQL, Running
from drills.sampler import Sampler
from lab.world.errors import WorldError
from lab.world.host import Host

EACH: Final = 0.2  # s between two looks
LONGEST: Final = 1.0  # s that one look may stand for
ANSWER: Final = 2.0  # s
_QUESTION: Final = """
SELECT jsonb_build_object('recovery', pg_is_in_recovery(),
 'sync', (SELECT count(*) FROM pg_stat_replication
          WHERE sync_state = 'sync' AND state = 'streaming'),
 'streaming', (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'),
 'writers', (SELECT coalesce(jsonb_agg(DISTINCT host(client_addr)), '[]') FROM pg_stat_activity
             WHERE usename LIKE 'headscale%' AND client_addr IS NOT NULL),
 'holder', (SELECT host FROM fence.holder), 'token', (SELECT token FROM fence.holder));
"""


@dataclass(frozen=True)
class Look:
    """One sample; `primary` is None when the database did not answer."""

    at: float
    primary: bool | None
    sync: int = 0  # standbys in sync
    streaming: int = 0  # standbys that follow, in sync or not
    writers: frozenset[str] = frozenset()  # control hosts with a session that may write
    holder: str = ""  # of the fence
    token: int = 0


class SessionWatch(Sampler):
    """Samples of one database host."""

    def __init__(self, name: str, host: Host, addresses: Mapping[str, str]) -> None:
        super().__init__(f"sessions of {name}", EACH)
        self.looks: list[Look] = []
        self._host = host
        self._names = {address: control for control, address in addresses.items()}
        self._psql: Running | None = None

    @property
    def last(self) -> Look:
        """The newest sample."""
        return self.looks[-1] if self.looks else Look(0.0, None)

    def look(self) -> None:
        asked = time.monotonic()
        try:
            sample = parse(asked, self._ask(), self._names)
        except (WorldError, OSError, ValueError):  # no power, no answer, half an answer
            self._close()
            sample = Look(asked, None)
        self.looks.append(sample)

    def finish(self) -> None:
        self._close()

    def _ask(self) -> str:
        if self._psql is None:
            self._psql = Running(self._host, PSQL)
        self._psql.stdin.write(_QUESTION.replace("\n", " ") + "\n")
        with selectors.DefaultSelector() as selector:
            selector.register(self._psql.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER):
                raise TimeoutError
        line = self._psql.stdout.readline()
        if not line:
            raise OSError("psql ended")
        return line

    def _close(self) -> None:
        if self._psql is not None:
            self._psql.end(1)
            self._psql = None


def parse(at: float, answer: str, names: Mapping[str, str]) -> Look:
    """The sample that psql's line tells; ValueError when it is not whole."""
    found = json.loads(answer)
    return Look(
        at,
        primary=not found["recovery"],
        sync=found["sync"],
        streaming=found["streaming"],
        writers=frozenset(names[address] for address in found["writers"] if address in names),
        holder=found["holder"] or "",
        token=found["token"] or 0,
    )
