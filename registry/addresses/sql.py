"""Nodes' addresses in Headscale's own table, changed in one transaction while it is stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

import psycopg2
import psycopg2.extras

from registry.addresses.config import Config
from registry.addresses.hold import Hold
from registry.addresses.plan import Move
from registry.trouble import RegistryError

# Longer than any statement and commit may take, so that the server cannot start in between.
SPARE_SECONDS: Final = 8.0
_LIMITS: Final = "-c statement_timeout=3s -c lock_timeout=2s"


class ChangedError(RegistryError):
    """What the plan saw is not so any more: plan anew."""


def move(config: Config, moves: Sequence[Move], hold: Hold) -> None:
    """All of them or none. Raises ChangedError or RegistryError."""
    try:
        password = config.password_file.read_text(encoding="utf-8").strip()
        with contextlib.closing(
            psycopg2.connect(config.database, password=password, connect_timeout=5, options=_LIMITS)
        ) as connection:
            with connection.cursor() as cursor:
                _update(cursor, moves)
            if hold.left() < SPARE_SECONDS:
                raise RegistryError("the guard's hold ends too soon; nothing was changed")
            connection.commit()
    except (OSError, psycopg2.Error) as error:
        said = " ".join(str(error).split())
        raise RegistryError(f"change the addresses: {said}; nothing was changed") from None


def _update(cursor: psycopg2.extensions.cursor, moves: Sequence[Move]) -> None:
    cursor.execute(
        "SELECT id, ipv4 FROM nodes WHERE id = ANY(%s) AND deleted_at IS NULL FOR UPDATE",
        ([move.id for move in moves],),
    )
    now = dict(cursor.fetchall())
    for move in moves:
        if move.id not in now or now[move.id] != (str(move.before) if move.before else None):
            raise ChangedError(f"node {move.node} has gone or moved meanwhile")
    psycopg2.extras.execute_values(
        cursor,
        "UPDATE nodes SET ipv4 = wanted.address FROM (VALUES %s) AS wanted (id, address)"
        " WHERE nodes.id = wanted.id",
        [(move.id, str(move.after)) for move in moves],
    )
    cursor.execute(
        "SELECT ipv4 FROM nodes WHERE ipv4 IS NOT NULL AND deleted_at IS NULL"
        " GROUP BY ipv4 HAVING count(*) > 1"
    )
    twice = [row[0] for row in cursor.fetchall()]
    if twice:
        raise ChangedError(f"{', '.join(twice)} would be two nodes'")
