"""What the registry keeps in the database, where both control hosts find it.

The result of the last run is sealed: whoever reads the database, or a backup of it, cannot use
the keys. The seal comes with `apply` and stays on the control hosts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg2

from registry.place import Place
from registry.trouble import RegistryError

HISTORY: Final = 100  # policies that are kept
_LOCK: Final = 0x6D657368  # whoever changes something holds it
LOCK_SECONDS: Final = 60

if TYPE_CHECKING:
    from registry.seal import Seal

# {"users": {name: id}, "groups": {name: [users]}, "keys": {name: record}, "api_keys": {…}}
Kept = dict[str, Any]


class Store:
    """A session with the database as the guard's role. RegistryError when it does not answer."""

    def __init__(self, place: Place) -> None:
        self.place = place
        config = place.guard_config()
        try:
            password = Path(config["password_file"]).read_text(encoding="utf-8").strip()
            self._connection = psycopg2.connect(
                config["database"], password=password, connect_timeout=5
            )
        except KeyError:
            raise RegistryError(f"{place.guard}: no such file yet") from None
        except psycopg2.Error as error:
            raise RegistryError(f"reach the database: {_words(error)}") from None
        self._connection.autocommit = True

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile. Waits for its turn, a minute at most."""
        self.ask(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        self.ask("SELECT pg_advisory_lock(%s)", _LOCK)
        try:
            yield
        finally:
            self.ask("SELECT pg_advisory_unlock(%s)", _LOCK)

    def read(self) -> tuple[str, Kept]:
        """(digest of the input, result); ("", {}) before the first run."""
        rows = self.ask("SELECT digest, sealed FROM fence.registry")
        if not rows:
            return "", {}
        digest, sealed = rows[0]
        return digest, json.loads(self._seal().open(sealed))

    def write(self, digest: str, kept: Kept) -> None:
        """Replace it in one step."""
        sealed = self._seal().close(json.dumps(kept, sort_keys=True))
        self.ask(
            "INSERT INTO fence.registry (digest, sealed) VALUES (%s, %s) ON CONFLICT (one)"
            " DO UPDATE SET digest = excluded.digest, sealed = excluded.sealed",
            digest,
            sealed,
        )

    def policies(self) -> list[dict[str, Any]]:
        """Every policy that was set, the newest first, without its text."""
        rows = self.ask(
            "SELECT version, extract(epoch FROM set_at)::bigint, sha256, note"
            " FROM fence.policy ORDER BY version DESC"
        )
        names = ("version", "set_at", "sha256", "note")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def policy(self, version: int) -> str:
        """The text of one of them."""
        rows = self.ask("SELECT text FROM fence.policy WHERE version = %s", version)
        if not rows:
            raise RegistryError(f"there is no policy {version}; `policy history` lists them")
        return str(rows[0][0])

    def remember(self, text: str, sha256: str, note: str) -> int:
        """Keep a policy that is being set; its version."""
        rows = self.ask(
            "INSERT INTO fence.policy (version, text, sha256, note)"
            " SELECT coalesce(max(version), 0) + 1, %s, %s, %s FROM fence.policy"
            " RETURNING version",
            text,
            sha256,
            note,
        )
        version = int(rows[0][0])
        self.ask("DELETE FROM fence.policy WHERE version <= %s", version - HISTORY)
        return version

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is a transaction of its own."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            raise RegistryError(f"ask the database: {_words(error)}") from None

    def _seal(self) -> Seal:
        from registry.seal import Seal  # what runs each half minute does not load cryptography

        return Seal(self.place.seal)


def _words(error: psycopg2.Error) -> str:
    return " ".join(str(error).split())
