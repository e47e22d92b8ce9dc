"""Covers the public edge of the booted mesh: relays, their map, certificates, open ports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from drills import two_clients
from drills.client import install
from lab.world.command import Done, until
from lab.world.host import Host
from lab.world.model import Cut
from tests.lab import scan
from tests.lab.mesh import Mesh

CONTROLS: Final = ("hs-1", "hs-2")
RELAYS: Final = ("derp-bj", "derp-sh", "derp-hk", "derp-sg")
PINNED: Final = "derp-sh"  # of stack lab; derp-hk gets its certificate by HTTP-01
_PUBLIC: Final = {"control": [80, 443], "ops": [], "relay": [80, 443]}  # plan 4.2, all of it
_HEADERS: Final = {  # plan 5.5
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
}


def public_name(mesh: Mesh, host: str) -> str:
    """The name by which clients know a host."""
    server = mesh.outputs["server_url"].removeprefix("https://")
    return server if host in CONTROLS else f"{host}.{server.split('.', 1)[1]}"


def ask(mesh: Mesh, host: str, path: str, *more: str) -> Done:
    """An outsider's request to one host by its public name."""
    name, address = public_name(mesh, host), mesh.outputs["hosts"][host]["address"]
    loosely = ["--insecure"] if host == PINNED else []
    return mesh.device.host.exec(
        [
            *("curl", "--silent", "--max-time", "5", "--include", *loosely, *more),
            *("--resolve", f"{name}:443:{address}", f"https://{name}{path}"),
        ],
        check=False,
    )


def certificate(mesh: Mesh, host: str, words: str) -> str:
    """What `openssl x509 WORDS` says of the certificate that a host shows."""
    name, address = public_name(mesh, host), mesh.outputs["hosts"][host]["address"]
    line = (
        f"openssl s_client -connect {address}:443 -servername {name} </dev/null 2>/dev/null"
        f" | openssl x509 {words}"
    )
    return mesh.device.host.exec(["sh", "-c", line]).stdout.strip()


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


def test_an_outsider_finds_no_port_open_beyond_the_plan(mesh: Mesh) -> None:
    hosts = {name: facts for name, facts in mesh.outputs["hosts"].items() if facts["address"]}
    public = {n: f for n, f in hosts.items() if f["address"] != f["private_address"]}
    addresses = [facts["address"] for facts in public.values()]

    found = scan.open_ports(mesh.server.host, addresses)

    wanted = {facts["address"]: _PUBLIC[facts["role"]] for facts in public.values()}
    assert found == wanted
    assert len(public) == 7


# Relays


def regions(mesh: Mesh) -> dict[str, Any]:
    """The DERP map as a client has it, by region code."""
    said = mesh.device.tailscale("debug", "derp-map").stdout
    return {region["RegionCode"]: region for region in json.loads(said)["Regions"].values()}


def test_the_map_has_the_fixed_address_of_each_relay(mesh: Mesh) -> None:
    found = {code: region["Nodes"][0]["IPv4"] for code, region in regions(mesh).items()}

    hosts = mesh.outputs["hosts"]
    assert found == {name.removeprefix("derp-"): hosts[name]["address"] for name in RELAYS}


@pytest.fixture
def prober(mesh: Mesh) -> Host:
    """A machine outside with derpprobe on it."""
    install(mesh.device.host, "derpprobe")
    return mesh.device.host


def relays_a_stranger(mesh: Mesh, prober: Host) -> dict[str, bool]:
    """Whether each relay carries packets between two clients that Headscale does not know."""
    whole = {"Regions": {str(r["RegionID"]): r for r in regions(mesh).values()}}
    prober.exec(["install", "-m", "644", "/dev/stdin", "/run/map.json"], stdin=json.dumps(whole))
    said = prober.exec(
        ["derpprobe", "-once", "-derp-map=file:///run/map.json", "-interval=1s"],
        check=False,
        within=120,
    )
    lines = (said.stdout + said.stderr).splitlines()
    return {
        code: any(line.startswith("good") and f"derp/{code}/" in line for line in lines)
        for code in regions(mesh)
    }


def test_a_relay_refuses_who_is_not_in_the_mesh(mesh: Mesh, prober: Host) -> None:
    assert relays_a_stranger(mesh, prober) == dict.fromkeys(("bj", "sh", "hk", "sg"), False)


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


# Certificates


def issued(mesh: Mesh, host: str) -> str:
    """The serial number of the certificate that a host shows."""
    return certificate(mesh, host, "-noout -serial")


def make_due(host: Host) -> None:
    """The next look finds a certificate that is due."""
    host.exec(["rm", "/var/lib/mesh-certificate/issued.json"])


@pytest.mark.parametrize("name", ["hs-1", "derp-hk", "derp-sg"])
def test_a_certificate_that_is_due_is_renewed(mesh: Mesh, name: str) -> None:
    before = issued(mesh, name)
    make_due(mesh.host(name))

    mesh.host(name).exec(["systemctl", "start", "mesh-certificate"], within=300)

    until(lambda: issued(mesh, name) != before, within=10, what="the new certificate")


def test_a_certificate_that_is_not_due_stays(mesh: Mesh) -> None:
    before = issued(mesh, "hs-1")

    mesh.host("hs-1").exec(["systemctl", "start", "mesh-certificate"])

    assert issued(mesh, "hs-1") == before


def test_with_a_wrong_credential_the_old_certificate_stays_and_the_journal_says_why(
    mesh: Mesh,
) -> None:
    host, before = mesh.host("hs-2"), issued(mesh, "hs-2")
    secret = "/etc/mesh/acme/ALICLOUD_SECRET_KEY"
    kept = host.exec(["cat", secret]).stdout
    make_due(host)
    try:
        host.exec(["install", "-m", "600", "/dev/stdin", secret], stdin="wrong")
        ended = host.exec(["systemctl", "start", "mesh-certificate"], check=False, within=300)
    finally:
        host.exec(["install", "-m", "600", "/dev/stdin", secret], stdin=kept)

    journal = host.exec(["journalctl", "-u", "mesh-certificate", "-n", "20"]).stdout
    assert ended.status != 0
    assert issued(mesh, "hs-2") == before
    assert "SignatureDoesNotMatch" in journal
    host.exec(["systemctl", "start", "mesh-certificate"], within=300)


def test_the_end_of_a_certificate_is_there_for_monitoring(mesh: Mesh) -> None:
    host = mesh.host("hs-1")
    line = (
        'date +%s -d "$(openssl x509 -noout -enddate -in /etc/mesh/public/entry.pem | cut -d= -f2)"'
    )

    ends = host.exec(["sh", "-c", line]).stdout.strip()

    text = host.exec(["cat", "/run/mesh-certificate/certificate.prom"]).stdout
    assert text.splitlines()[-1] == f"mesh_certificate_expires_seconds {ends}"
