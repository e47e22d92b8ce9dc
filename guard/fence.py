"""The fence in the database: only the host that took it last may log in as Headscale.

The functions fence.take and fence.kick are made by the database role; see their comments there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from guard import clock

# Both sides notice a peer that has vanished within seconds.
_OPTIONS: Final[dict[str, Any]] = {
    "connect_timeout": 2,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3000,
    "application_name": "mesh-guard",
    "options": "-c statement_timeout=3s -c lock_timeout=2s",
}
QUIET_ROUNDS: Final = 2  # looks without a session of the other host: one may be logging in


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
        rows = self._query("SELECT host, token FROM fence.holder")
        host, token = rows[0]
        return Holder(str(host), int(str(token)))

    def take(self, token: int) -> float:
        """Make this host the only one that may write, and end every session of the others;
        the seconds that it took. Raises StaleTokenError when the token is not the newest."""
        began = clock.now()
        self._query("SELECT fence.take(%s)", token)
        quiet = 0
        while quiet < QUIET_ROUNDS:
            quiet = 0 if self._query("SELECT fence.kick()")[0][0] else quiet + 1
        return clock.now() - began

    def close(self) -> None:
        """Give the connection up; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(
                    self._dsn, password=self._password_file.read_text().strip(), **_OPTIONS
                )
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
        except psycopg2.Error as error:
            self.close()
            text = " ".join(str(error).split())
            if error.pgcode == "55000":  # object_not_in_prerequisite_state, raised by fence.take
                raise StaleTokenError(text) from None
            raise FenceError(text) from None
