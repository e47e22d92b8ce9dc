"""Covers clients whose nodes get other addresses while the server is away for a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from drills.crowd import Crowd
from lab.world.command import until
from tests.crowd import loopback
from tests.crowd.loopback import Loopback

NEW = {"alice": "100.70.1.1", "bob": "100.71.0.1"}
POLICY = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}'


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Loopback]:
    with loopback.prepared(tmp_path) as here:
        yield here


def test_clients_follow_to_new_addresses_and_reach_each_other_there(here: Loopback) -> None:
    with here.crowd() as crowd, ExitStack() as server, ThreadPoolExecutor(1) as pool:
        server.enter_context(here.serving())
        here.set_policy(POLICY)
        crowd.join(loopback.URL, {name: here.key(user=name) for name in NEW})
        until(lambda: _know_each_other(crowd), within=30, what="peers", poll=0.2)

        began = time.monotonic()
        job = pool.submit(crowd.follow, NEW, {"alice": "bob", "bob": "alice"}, 90)
        server.close()
        here.readdress(NEW)
        server.enter_context(here.serving())
        seen = job.result()

        assert crowd.addresses() == NEW
        assert all(at is not None and at > began for one in seen.values() for at in one.values())


def _know_each_other(crowd: Crowd) -> bool:
    return all(found["peers"] for found in crowd.status().values())
