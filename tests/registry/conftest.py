"""One PostgreSQL for the session, and for each test a Headscale on empty tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.database import Database
from tests.registry.plant import Plant

_EMPTY = """
DROP SCHEMA public CASCADE;
CREATE SCHEMA public AUTHORIZATION headscale;
DELETE FROM fence.registry;
DELETE FROM fence.policy;
DELETE FROM fence.addresses;
"""


@pytest.fixture(scope="session")
def store() -> Iterator[Database]:
    """The database server."""
    made = Database()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def plant(store: Database, tmp_path: Path) -> Iterator[Plant]:
    """A running Headscale that knows nobody yet."""
    store.run(_EMPTY)
    made = Plant(tmp_path, store)
    made.start()
    try:
        yield made
    finally:
        made.end()
