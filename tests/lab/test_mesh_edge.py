"""Covers the public edge of the booted mesh: relays, their map, open ports, TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from drills import scan, strangers, two_clients, udp
from lab.world.command import until
from lab.world.host import Host
from lab.world.model import Cut
from tests.lab.edge import CONTROLS, PINNED, RELAYS, ask, certificate
from tests.lab.mesh import Mesh

_HEADERS: Final = {  # plan 5.5
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
}


@pytest.mark.parametrize("host", [*CONTROLS, *(relay for relay in RELAYS if relay != PINNED)])
def test_a_public_name_has_a_certificate_that_everybody_trusts(mesh: Mesh, host: str) -> None:
    assert ask(mesh, host, "/").status == 0


def test_clients_know_a_pinned_relay_by_the_hash_of_its_certificate(mesh: Mesh) -> None:
    shown = certificate(mesh, PINNED, "-outform DER | sha256sum").split()[0]

    assert regions(mesh)["sh"]["Nodes"][0]["CertName"] == f"sha256-raw:{shown}"


@pytest.mark.parametrize("host", [*CONTROLS, *RELAYS])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nobody_speaks_an_old_tls(mesh: Mesh, host: str, version: str) -> None:
    # The looser ciphers are what old versions need; TLS 1.2 must pass with the same words.
    words = ("--ciphers", "DEFAULT@SECLEVEL=0")

    old = ask(mesh, host, "/", *words, f"--tlsv{version}", "--tls-max", version)
    new = ask(mesh, host, "/", *words, "--tlsv1.2", "--tls-max", "1.2")

    assert (old.status == 0, new.status == 0) == (False, True), (old, new)


@pytest.mark.parametrize("host", CONTROLS)
def test_the_entry_sends_the_headers_of_plan_5_5(mesh: Mesh, host: str) -> None:
    lines = ask(mesh, host, "/health").stdout.splitlines()

    sent = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    assert {name: sent.get(name) for name in _HEADERS} == {
        name: value.lower() for name, value in _HEADERS.items()
    }


@pytest.mark.parametrize("host", RELAYS)
def test_a_relay_shows_no_debug_page(mesh: Mesh, host: str) -> None:
    for path in ("/debug/", "/debug/varz", "/debug/pprof/"):
        answer = ask(mesh, host, path).stdout.splitlines()[0]
        assert answer.split()[1] in {"403", "404"}, f"{path}: {answer}"
    assert "derp_" not in ask(mesh, host, "/metrics").stdout


@pytest.fixture
def public(mesh: Mesh) -> dict[str, str]:
    """The role of each host that the world can reach, by its address."""
    hosts = [facts for facts in mesh.outputs["hosts"].values() if facts["address"]]
    found = {f["address"]: f["role"] for f in hosts if f["address"] != f["private_address"]}
    assert len(found) == 7
    return found


def test_an_outsider_finds_no_tcp_port_open_beyond_the_plan(
    mesh: Mesh, public: dict[str, str]
) -> None:
    found = scan.open_ports(mesh.server.host, list(public))

    assert found == {address: scan.PLAN[role] for address, role in public.items()}


def test_an_outsider_hears_nothing_by_udp_but_stun_of_the_relays(
    mesh: Mesh, public: dict[str, str]
) -> None:
    outsider = mesh.server.host

    heard = udp.heard(outsider, list(public))

    stun = {udp.STUN: mesh.world.place(outsider.name)[1].public}
    relays = {address for address, role in public.items() if role == "relay"}
    assert {address: one.answers for address, one in heard.items()} == {
        address: (udp.STUN,) if address in relays else () for address in public
    }
    assert {address: heard[address].stun for address in relays} == dict.fromkeys(relays, stun)


# Relays


def regions(mesh: Mesh) -> dict[str, Any]:
    """The DERP map as a client has it, by region code."""
    said = mesh.device.tailscale("debug", "derp-map").stdout
    return {region["RegionCode"]: region for region in json.loads(said)["Regions"].values()}


def test_the_map_has_the_fixed_address_of_each_relay(mesh: Mesh) -> None:
    found = {code: region["Nodes"][0]["IPv4"] for code, region in regions(mesh).items()}

    hosts = mesh.outputs["hosts"]
    assert found == {name.removeprefix("derp-"): hosts[name]["address"] for name in RELAYS}


def test_a_relay_refuses_who_is_not_in_the_mesh(mesh: Mesh) -> None:
    prober, known = mesh.device.host, regions(mesh)
    key = mesh.host("derp-bj").exec(["cat", "/etc/mesh/derp-mesh.key"]).stdout

    unknown = strangers.relayed(prober, known)
    friends = strangers.relayed(prober, known, key)

    assert unknown == dict.fromkeys(("bj", "sh", "hk", "sg"), False)
    assert friends == dict.fromkeys(("bj", "sh", "hk", "sg"), True), "else the probe is at fault"


@contextmanager
def no_headscale(mesh: Mesh) -> Iterator[None]:
    """Both guards stopped, so that nobody can be asked about clients."""
    for name in CONTROLS:
        mesh.host(name).exec(["systemctl", "stop", "mesh-guard"])
    try:
        yield
    finally:
        for name in CONTROLS:
            mesh.host(name).exec(["systemctl", "start", "mesh-guard"])
        two_clients.active_name(mesh.world, mesh.outputs)


@contextmanager
def no_direct_way(mesh: Mesh) -> Iterator[None]:
    """UDP is dropped between the two clients, except STUN."""
    ends = (mesh.device.host.name, mesh.server.host.name)
    mesh.world.cut(Cut(hosts=ends, protocol="udp", except_ports=(3478,)))
    try:
        yield
    finally:
        mesh.world.heal(*ends)


def test_a_known_client_relays_on_while_headscale_is_away(mesh: Mesh) -> None:
    with no_direct_way(mesh), no_headscale(mesh):
        for name in RELAYS:  # every client must connect to its relay anew
            mesh.host(name).exec(["systemctl", "restart", "derper"])

        said = two_clients.await_relay(mesh.device, mesh.server)

    assert "via DERP" in said


def test_a_client_is_at_home_at_the_nearest_relay_and_moves_when_that_stops(mesh: Mesh) -> None:
    far = {"derp-bj": 15.0, "derp-hk": 25.0, "derp-sg": 40.0}  # ms each way, from Shanghai
    device = mesh.device
    relay = {name: mesh.outputs["hosts"][name]["instance"] for name in RELAYS}

    def home() -> str:
        return str(device.status()["Self"]["Relay"])

    mesh.world.place_apart({(device.host.name, relay[n]): ms for n, ms in far.items()})
    try:
        # A client goes by the best time of the last five minutes; this one starts anew.
        device.host.exec(["systemctl", "restart", "tailscaled"])
        until(lambda: home() == "sh", within=180, what="home sh", seen=home)
        mesh.host("derp-sh").exec(["systemctl", "stop", "derper"])
        until(lambda: home() == "bj", within=180, what="home bj", seen=home)
    finally:
        mesh.host("derp-sh").exec(["systemctl", "start", "derper"])
        mesh.world.place_apart({})


def test_a_relay_at_a_cloud_that_caps_nothing_keeps_to_its_bandwidth(mesh: Mesh) -> None:
    for name in ("derp-hk", "derp-sg"):
        assert " tbf " in mesh.host(name).exec(["tc", "qdisc", "show"]).stdout
        assert "rate 100Mbit" in mesh.host(name).exec(["tc", "qdisc", "show"]).stdout


def test_a_relay_that_fails_leaves_the_map_by_itself_and_comes_back(mesh: Mesh) -> None:
    ops, relay = mesh.host("ops-1"), mesh.host("derp-hk")
    edit = 's/"away_after": [0-9]*/"away_after": 20/; s/"back_after": [0-9]*/"back_after": 20/'
    with impatient(ops, edit):
        relay.exec(["systemctl", "stop", "derper"])
        until(lambda: "hk" not in regions(mesh), within=240, what="a map without hk", poll=2)
        relay.exec(["systemctl", "start", "derper"])
        until(lambda: "hk" in regions(mesh), within=240, what="a map with hk", poll=2)


@contextmanager
def impatient(ops: Host, edit: str) -> Iterator[None]:
    """The watcher of relays decides within seconds, not minutes."""
    config = "/etc/mesh/relays.json"
    ops.exec(["cp", "--archive", config, f"{config}.kept"])
    ops.exec(["sed", "--in-place", edit, config])
    ops.exec(["systemctl", "restart", "mesh-relay-watch"])
    try:
        yield
    finally:
        ops.exec(["mv", f"{config}.kept", config])
        ops.exec(["systemctl", "restart", "mesh-relay-watch"])
