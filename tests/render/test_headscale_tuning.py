"""Covers that Headscale itself takes the tuning: it ignores keys that it does not know, in silence.

Needs Headscale from dist/ (make artifacts).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.headscale_alone import Alone

CHOSEN = {"tuning": {"batcher_workers": 3, "batch_delay_ms": 1200, "queue": 500}}


@pytest.mark.parametrize("changes", [{}, CHOSEN], ids=["computed", "chosen"])
def test_headscale_takes_every_value_of_the_tuning(changes: dict[str, Any], tmp_path: Path) -> None:
    server = Alone(tmp_path, changes)

    with server.serving():
        taken = json.loads(server.ask("/debug/config"))["Tuning"]

    assert server.tree["tuning"] == {
        "batcher_workers": taken["BatcherWorkers"],
        "batch_change_delay": f"{taken['BatchChangeDelay'] // 1_000_000}ms",
        "node_mapsession_buffered_chan_size": taken["NodeMapSessionBufferedChanSize"],
        "node_store_batch_size": taken["NodeStoreBatchSize"],
        "register_cache_max_entries": taken["RegisterCacheMaxEntries"],
    }
