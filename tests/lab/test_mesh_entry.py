"""Covers the public entry of the booted mesh: what it lets through, and what it keeps up."""

from __future__ import annotations

import pytest

from drills import two_clients
from lab.world.command import Done, until
from lab.world.host import Host
from tests.lab.mesh import Mesh

CONTROLS = ("hs-1", "hs-2")


def ask(mesh: Mesh, entry: str, path: str) -> Done:
    """What a machine outside the mesh's own network is answered at the entry of a control host:
    the body, then the status on a line of its own."""
    url, address = mesh.outputs["server_url"], mesh.outputs["hosts"][entry]["address"]
    name = url.removeprefix("https://")
    return mesh.device.host.exec(
        [
            *("curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code}"),
            *("--resolve", f"{name}:443:{address}", f"{url}{path}"),
        ],
        check=False,
    )


def streams(mesh: Mesh) -> set[str]:
    """The device's connections to the entries: both ends of each."""
    listed = mesh.device.host.exec(["ss", "-tnH", "state", "established", "( dport = :443 )"])
    entries = [mesh.outputs["hosts"][name]["address"] for name in CONTROLS]
    found = [line.split() for line in listed.stdout.splitlines()]
    return {f"{row[2]} {row[3]}" for row in found if row[3].rpartition(":")[0] in entries}


def reload(mesh: Mesh, name: str) -> None:
    """Reload the entry of a control host; returns when its new worker answers."""
    host = mesh.host(name)
    before = set(workers(host))
    host.exec(["systemctl", "reload", "haproxy-entry"])
    until(lambda: bool(set(workers(host)) - before), within=30, what=f"a new worker on {name}")
    until(
        lambda: ask(mesh, name, "/version").stdout.endswith("200"),
        within=30,
        what=f"an answer of {name}",
    )


def workers(host: Host) -> list[str]:
    """Processes of the entry's HAProxy."""
    return host.exec(["pgrep", "-f", "haproxy.*entry"]).stdout.split()


@pytest.mark.parametrize("entry", CONTROLS)
def test_both_entries_lead_to_the_live_server(mesh: Mesh, entry: str) -> None:
    assert ask(mesh, entry, "/health").stdout.split() == ['{"status":"pass"}', "200"]


@pytest.mark.parametrize("path", ["/metrics", "/debug/config", "/%6detrics"])
def test_metrics_and_debug_pages_are_refused_from_outside(mesh: Mesh, path: str) -> None:
    for entry in CONTROLS:
        assert ask(mesh, entry, path).stdout.splitlines()[-1] == "403"


def test_metrics_of_headscale_and_guard_are_there_from_inside(mesh: Mesh) -> None:
    active = two_clients.active_name(mesh.world, mesh.outputs)
    address = mesh.outputs["hosts"][active]["private_address"]
    name = mesh.outputs["server_url"].removeprefix("https://")
    ops = mesh.host("ops-1")

    headscale = ops.exec(
        [
            *("curl", "--silent", "--fail", "--cacert", "/etc/mesh/tls/ca.crt"),
            *("--resolve", f"{name}:443:{address}", f"https://{name}/metrics"),
        ]
    )
    guard = ops.exec(["curl", "--silent", "--fail", f"http://{address}:9105/metrics"])

    assert "headscale_" in headscale.stdout
    assert 'mesh_guard_role{role="active"} 1.0' in guard.stdout


def test_a_long_stream_survives_a_reload_of_both_entries(mesh: Mesh) -> None:
    before = streams(mesh)
    assert before, "the device must hold a stream, or nothing is proved"

    for name in CONTROLS:
        reload(mesh, name)

    assert before <= streams(mesh)
