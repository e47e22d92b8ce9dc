"""Covers that Headscale itself takes the tuning: it ignores keys that it does not know, in silence.

Needs Headscale from dist/ (make artifacts); it runs on loopback, with a database in a file.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from lab.world.command import until
from mesh import headscale
from tests import stacks
from tests.guard.waiting import free_port
from tests.render.test_roles import program

SECONDS = 60  # until it answers; it takes one
CHOSEN = {"batcher_workers": 3, "batch_delay_ms": 1200, "queue": 500}


def configuration(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """What prod's hosts are given, with everything else inside a folder and on loopback."""
    login = headscale.Login(host="unused", user="unused", password="unused")
    settings, topology = stacks.load("prod", changes), stacks.build("prod", changes)
    text = headscale.configuration(settings, topology, login)
    tree: dict[str, Any] = yaml.safe_load(text)
    (folder / "derp.yaml").write_text(
        "regions: {900: {regionid: 900, regioncode: a, regionname: A, nodes:"
        " [{name: 900a, regionid: 900, hostname: a.example.com, ipv4: 198.51.100.1}]}}\n"
    )
    (folder / "records.json").write_text("[]\n")
    return tree | {
        "listen_addr": f"127.0.0.1:{free_port()}",
        "metrics_listen_addr": f"127.0.0.1:{free_port()}",
        "grpc_listen_addr": f"127.0.0.1:{free_port()}",
        "tls_cert_path": "",
        "tls_key_path": "",
        "unix_socket": f"{folder}/headscale.sock",
        "noise": {"private_key_path": f"{folder}/noise.key"},
        "derp": {**tree["derp"], "paths": [f"{folder}/derp.yaml"]},
        "database": {"type": "sqlite", "sqlite": {"path": f"{folder}/db.sqlite"}},
        "dns": {**tree["dns"], "extra_records_path": f"{folder}/records.json"},
    }


@pytest.fixture(params=[{}, {"tuning": CHOSEN}], ids=["computed", "chosen"])
def running(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The tuning that was written, and the configuration that Headscale has made of it."""
    tree = configuration(tmp_path, request.param)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(tree))
    command = [str(program("headscale")), "--config", str(config)]
    subprocess.run([*command, "configtest"], capture_output=True, text=True, check=True)
    server = subprocess.Popen([*command, "serve"], stderr=subprocess.PIPE, text=True)
    try:
        yield tree["tuning"], asked(server, tree["metrics_listen_addr"])
    finally:
        server.kill()
        server.communicate()


def asked(server: subprocess.Popen[str], address: str) -> dict[str, Any]:
    """What a server that starts says of its own configuration."""
    pool = urllib3.PoolManager(retries=False, timeout=5)
    answers: list[dict[str, Any]] = []

    def answered() -> bool:
        assert server.poll() is None, f"Headscale has ended: {server.communicate()[1][-2000:]}"
        with suppress(urllib3.exceptions.HTTPError):
            answers.append(pool.request("GET", f"http://{address}/debug/config").json())
        return bool(answers)

    until(answered, within=SECONDS, what="Headscale's own configuration")
    return answers[0]


def test_headscale_takes_every_value_of_the_tuning(
    running: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    written, taken = running

    tuning = taken["Tuning"]
    assert written == {
        "batcher_workers": tuning["BatcherWorkers"],
        "batch_change_delay": f"{tuning['BatchChangeDelay'] // 1_000_000}ms",
        "node_mapsession_buffered_chan_size": tuning["NodeMapSessionBufferedChanSize"],
        "register_cache_max_entries": tuning["RegisterCacheMaxEntries"],
    }
