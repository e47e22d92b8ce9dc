"""The fence in the database: only the host that took it last may log in as Headscale.

The functions fence.take and fence.kick are made by the database role; see their comments there.
"""

from __future__ import annotations

import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from guard import clock

ANSWER_SECONDS: Final = 3.0  # for all that one method asks
# The proxy in between acknowledges what a silent database does not, so neither keepalives nor
# libpq's own timeouts end a wait: only a connection that does not block lets this side do it.
_OPTIONS: Final[dict[str, Any]] = {
    "async_": 1,
    "application_name": "mesh-guard",
    "options": "-c statement_timeout=3s -c lock_timeout=2s",  # what nobody waits for any more
}
QUIET_ROUNDS: Final = 2  # looks without a session of the other host: one may be logging in
_STALE: Final = "55000"  # object_not_in_prerequisite_state, raised by fence.take


class FenceError(Exception):
    """The database did not answer, or refused."""


class StaleTokenError(FenceError):
    """Somebody took the fence with a newer token."""


@dataclass(frozen=True)
class Holder:
    """Who may write, by the database's word."""

    host: str
    token: int


class Fence:
    """One connection to the primary, made when needed; not for use by two threads at once."""

    def __init__(self, dsn: str, password_file: Path) -> None:
        self._dsn = dsn
        self._password_file = password_file
        self._connection: psycopg2.extensions.connection | None = None

    def holder(self) -> Holder:
        """Who may write. Raises FenceError, like every method here."""
        until = clock.now() + ANSWER_SECONDS
        host, token = self._query(until, "SELECT host, token FROM fence.holder")
        return Holder(str(host), int(str(token)))

    def take(self, token: int) -> float:
        """Make this host the only one that may write, and end every session of the others;
        the seconds that it took. Raises StaleTokenError when the token is not the newest."""
        began = clock.now()
        until = began + ANSWER_SECONDS
        self._query(until, "SELECT fence.take(%s)", token)
        quiet = 0
        while quiet < QUIET_ROUNDS:
            quiet = 0 if self._kick(until) else quiet + 1
        return clock.now() - began

    def sweep(self) -> int:
        """End sessions of the others that began while the fence was being taken; how many.
        Raises StaleTokenError when this host is not the holder."""
        return self._kick(clock.now() + ANSWER_SECONDS)

    def close(self) -> None:
        """Give the connection up; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _kick(self, until: float) -> int:
        return int(str(self._query(until, "SELECT fence.kick()")[0]))

    def _query(self, until: float, statement: str, *values: object) -> tuple[object, ...]:
        """The one row of the answer."""
        try:
            connection = self._connected(until)
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                _wait(connection, until)
                row = cursor.fetchone()
        except (psycopg2.Error, OSError) as error:  # OSError: the password file
            self.close()
            text = " ".join(str(error).split())
            if getattr(error, "pgcode", None) == _STALE:
                raise StaleTokenError(text) from None
            raise FenceError(text) from None
        if row is None:
            raise FenceError("fence.holder is empty; the database role must make it anew")
        return row

    def _connected(self, until: float) -> psycopg2.extensions.connection:
        if self._connection is None:
            password = self._password_file.read_text(encoding="utf-8").strip()
            self._connection = psycopg2.connect(self._dsn, password=password, **_OPTIONS)
            _wait(self._connection, until)
        return self._connection


def _wait(connection: psycopg2.extensions.connection, until: float) -> None:
    """Until what was asked is answered. Raises psycopg2.OperationalError at the deadline."""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        reading = state == psycopg2.extensions.POLL_READ
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN if reading else select.POLLOUT)
        if not poll.poll(1000 * max(0.0, until - clock.now())):
            raise psycopg2.OperationalError("no answer in time")
