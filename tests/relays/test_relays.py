"""Covers the way from a relay that fails to the map that Headscale reads, with the real derper,
derpprobe and etcd; the rules are in tests/unit/test_relay_decision.py.

Needs dist/ (make artifacts).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib import request

import pytest

from lab.world.ports import free_port
from relays.command import CommandError
from tests.guard import waiting
from tests.relays.mesh import AWAY_AFTER, Mesh, Process, program


def test_a_dead_relay_leaves_the_map_and_comes_back_when_it_lives(mesh: Mesh) -> None:
    mesh.relays["bb"].process.end()
    mesh.until_map({"aa"})

    shown = mesh.status("bb")
    assert shown["in_map"] is False
    assert shown["failing_seconds"] >= AWAY_AFTER
    assert "failed for" in shown["why"]
    assert 'mesh_relay_in_map{relay="bb"} 0\n' in metrics(mesh)
    assert "OUT" in next(line for line in mesh.operator().splitlines() if line.startswith("bb"))

    mesh.watch.end()  # the decision is in etcd, not in the watcher
    mesh.config.status.unlink()
    mesh.watch.start()
    mesh.until("another watcher looks", lambda: mesh.config.status.exists())
    assert mesh.status("bb")["in_map"] is False

    mesh.relays["bb"].process.start()
    mesh.until_map({"aa", "bb"})
    assert 'mesh_relay_in_map{relay="bb"} 1\n' in metrics(mesh)


def metrics(mesh: Mesh) -> str:
    return (mesh.config.status.parent / "relays.prom").read_text()


def test_when_all_fail_at_once_none_leaves(mesh: Mesh) -> None:
    for relay in mesh.relays.values():
        relay.process.end()

    mesh.until(
        "both have failed for long",
        lambda: all(mesh.status(code)["failing_seconds"] > AWAY_AFTER for code in mesh.relays),
    )

    assert mesh.told()["own_network_sick"] is True
    assert "on this side" in mesh.operator()
    assert all(mesh.status(code)["in_map"] for code in mesh.relays)
    assert mesh.in_map() == {"aa", "bb"}


def test_an_operator_overrides_the_probes(mesh: Mesh) -> None:
    mesh.operator("set", "bb", "out")
    mesh.until_map({"aa"})
    assert "operator" in mesh.status("bb")["why"]

    with pytest.raises(CommandError, match="aa is the last relay in the map"):
        mesh.operator("set", "aa", "out")

    mesh.operator("set", "bb", "auto")
    mesh.until_map({"aa", "bb"})


@pytest.fixture
def headscale(mesh: Mesh, tmp_path: Path) -> Iterator[str]:
    """A Headscale that reads the map; the address of its debug pages."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    config = tmp_path / "config.json"  # which is YAML, too
    config.write_text(
        json.dumps(
            {
                "server_url": f"http://{addresses[0]}",
                "listen_addr": addresses[0],
                "metrics_listen_addr": addresses[1],
                "grpc_listen_addr": addresses[2],
                "unix_socket": str(tmp_path / "headscale.sock"),
                "noise": {"private_key_path": str(tmp_path / "noise.key")},
                "prefixes": {"v4": "100.64.0.0/10"},
                "derp": {
                    "server": {"enabled": False},
                    "urls": [],
                    "paths": [str(mesh.map)],
                    "auto_update_enabled": True,
                    "update_frequency": "1s",
                },
                "database": {"type": "sqlite", "sqlite": {"path": str(tmp_path / "db.sqlite")}},
                "dns": {"magic_dns": False, "override_local_dns": False},
                "disable_check_updates": True,
            }
        )
    )
    process = Process(
        tmp_path / "headscale.log", [program("headscale"), "--config", str(config), "serve"]
    )
    process.start()
    yield f"http://{addresses[1]}/debug/derp"
    process.end()


def regions(url: str) -> set[str]:
    """What Headscale would tell clients; nothing until it answers."""
    asked = request.Request(url, headers={"Accept": "application/json"})
    try:
        with request.urlopen(asked, timeout=2) as answer:
            found = json.load(answer)
    except OSError:
        return set()
    return {region["region_name"] for region in found["regions"].values()}


def test_headscale_reads_the_map_and_follows_it(mesh: Mesh, headscale: str) -> None:
    waiting.eventually("Headscale has both", lambda: regions(headscale) == {"AA", "BB"})

    mesh.operator("set", "bb", "out")

    waiting.eventually("Headscale has one", lambda: regions(headscale) == {"AA"})
