"""Covers relays' IPv6 on the booted mesh: names, the map, a client that uses it, open ports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from drills import scan
from drills.client import Client, install
from drills.live import Live
from lab.world.command import until
from tests.lab.mesh import Mesh

RELAYS: Final = {"derp-bj": 900, "derp-sh": 901, "derp-hk": 902}  # of stack lab, one a cloud
WITHOUT: Final = "derp-sg"
PINNED: Final = "derp-sh"
_VISITOR: Final = "prod-api-bj-006"
_STUN: Final = "3478"


@pytest.fixture(scope="module")
def visitor(mesh: Mesh) -> Iterator[Client]:
    """A node of the mesh with both address families."""
    client = Client.boot(mesh.world, _VISITOR, ipv6=True)
    install(client.host, "stunc")
    client.join(mesh.outputs["server_url"], mesh.outputs["keys"]["prod-api"])
    try:
        yield client
    finally:
        Live(mesh.world, mesh.outputs).remove_nodes([_VISITOR])
        mesh.world.remove_host(_VISITOR)


def ipv6(mesh: Mesh, host: str) -> str:
    """A relay's address as the stack shows it."""
    return str(mesh.outputs["hosts"][host]["ipv6"])


def name(mesh: Mesh, host: str) -> str:
    """A relay's public name."""
    return f"{host}.{mesh.outputs['server_url'].split('.', 1)[1]}"


def addresses(client: Client, host_name: str) -> list[str]:
    """The IPv6 addresses of a name, by the machine's own resolver."""
    done = client.host.exec(["getent", "ahostsv6", host_name], check=False)
    found = {line.split()[0] for line in done.stdout.splitlines()}
    return sorted(address for address in found if not address.startswith("::ffff:"))


def nodes(client: Client) -> dict[str, dict[str, Any]]:
    """The map's nodes as a client has them, by the relay's host."""
    regions = json.loads(client.tailscale("debug", "derp-map").stdout)["Regions"].values()
    return {node["HostName"].split(".")[0]: node for region in regions for node in region["Nodes"]}


def test_the_names_and_the_map_lead_to_the_address_of_each_relay(
    mesh: Mesh, visitor: Client
) -> None:
    for host in RELAYS:
        assert addresses(visitor, name(mesh, host)) == [ipv6(mesh, host)]
        assert nodes(visitor)[host]["IPv6"] == ipv6(mesh, host)


def test_a_relay_without_the_setting_has_no_ipv6_anywhere(mesh: Mesh, visitor: Client) -> None:
    assert "ipv6" not in mesh.outputs["hosts"][WITHOUT]
    assert addresses(visitor, name(mesh, WITHOUT)) == []
    assert nodes(visitor)[WITHOUT]["IPv6"] == "none"


@pytest.mark.parametrize("host", RELAYS)
def test_a_relay_serves_tls_and_stun_at_its_address(mesh: Mesh, visitor: Client, host: str) -> None:
    loosely = ["--insecure"] if host == PINNED else []
    said = visitor.host.exec(
        [
            *("curl", "-6", "--silent", "--show-error", "--fail", "--max-time", "10", *loosely),
            *("--write-out", "%{remote_ip}", "--output", "/dev/null"),
            f"https://{name(mesh, host)}/derp/probe",
        ]
    )
    stun = visitor.host.exec(["stunc", ipv6(mesh, host), _STUN], within=20)

    own = mesh.world.place(_VISITOR)[1].ipv6
    assert said.stdout == ipv6(mesh, host)
    assert str(own) in stun.stdout + stun.stderr, "the relay saw the client's own address"


def test_a_client_measures_every_relay_in_both_families(visitor: Client) -> None:
    six = {*RELAYS.values()}
    report: dict[str, Any] = {}

    def measured(family: str) -> set[int]:
        return {int(region) for region in report.get(f"Region{family}Latency") or {}}

    def all_measured() -> bool:
        # One look gives a relay three seconds, which a busy machine may need for others.
        report.update(json.loads(visitor.tailscale("netcheck", "--format=json").stdout))
        return (measured("V6"), measured("V4")) == (six, six | {903})

    until(all_measured, within=120, what="latencies in both families", seen=lambda: str(report))


@contextmanager
def no_ipv4_to_relays(mesh: Mesh, visitor: Client) -> Iterator[None]:
    """Only the relays' IPv6 addresses can be reached from the client."""
    dead = [mesh.outputs["hosts"][host]["address"] for host in (*RELAYS, WITHOUT)]
    for address in dead:
        visitor.host.exec(["ip", "route", "add", "blackhole", address])
    try:
        yield
    finally:
        for address in dead:
            visitor.host.exec(["ip", "route", "del", "blackhole", address])


def test_a_client_is_at_home_at_a_relay_that_it_reaches_by_ipv6_only(
    mesh: Mesh, visitor: Client
) -> None:
    six = [ipv6(mesh, host) for host in RELAYS]

    def connections() -> str:
        return visitor.host.exec(
            ["ss", "-Htn", "state", "established", "dport", "=", ":443"]
        ).stdout

    with no_ipv4_to_relays(mesh, visitor):
        visitor.host.exec(["systemctl", "restart", "tailscaled"])
        until(
            lambda: any(f"[{address}]:443" in connections() for address in six),
            within=120,
            what="a connection to a relay over IPv6",
            seen=connections,
        )
        said = mesh.device.tailscale("ping", "--c=3", "--until-direct=false", visitor.address)

    assert "pong" in said.stdout


def test_a_scan_over_ipv6_finds_the_ports_of_the_scan_over_ipv4(
    mesh: Mesh, visitor: Client
) -> None:
    pairs = {mesh.outputs["hosts"][host]["address"]: ipv6(mesh, host) for host in RELAYS}

    found = scan.open_ports(visitor.host, [*pairs, *pairs.values()])

    wanted = {four: [80, 443] for four in pairs}
    assert {four: found[six] for four, six in pairs.items()} == wanted
    assert {four: found[four] for four in pairs} == wanted


def test_a_relay_that_was_off_has_its_address_again(mesh: Mesh, visitor: Client) -> None:
    relay = mesh.host(PINNED)  # at the cloud whose images are told of no IPv6 address
    relay.power_off()
    relay.start()
    probe = ["curl", "-6", "--silent", "--insecure", "--max-time", "5"]

    def serves() -> bool:
        line = [*probe, f"https://{name(mesh, PINNED)}/derp/probe"]
        return visitor.host.exec(line, check=False).status == 0

    until(serves, within=120, what=f"{PINNED} over IPv6", poll=1)


def test_an_address_that_was_taken_away_comes_back(mesh: Mesh, visitor: Client) -> None:
    relay, own = mesh.host(PINNED), ipv6(mesh, PINNED)

    def is_there() -> bool:
        return own in relay.exec(["ip", "-6", "address", "show", "to", f"{own}/128"]).stdout

    relay.exec(["systemctl", "stop", "mesh-ipv6.timer"])
    relay.exec(["ip", "-6", "address", "flush", "to", f"{own}/128"])
    gone = not is_there()
    relay.exec(["systemctl", "start", "mesh-ipv6.timer"])

    assert gone
    until(is_there, within=90, what=f"the address of {PINNED}", poll=1)
