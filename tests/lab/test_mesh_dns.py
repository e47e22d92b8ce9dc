"""Covers names as a client of the booted mesh resolves them: of nodes, extra ones, those of a node
under another name, and those of a domain with a resolver of its own.

What clients do with each kind of record: tests/dns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from drills import two_clients
from drills.client import Client
from drills.mesh import guard_status
from lab.world.command import until
from lab.world.host import Host
from tests.lab.mesh import Mesh

BASE: Final = "ts.company.local"
GRAFANA: Final = "100.64.2.10"  # by the stack
FRESH: Final = "100.64.2.99"
FILE: Final = "/var/lib/mesh-records/records.json"
CONFIG: Final = "/etc/mesh/records.json"
SOON: Final = 90  # s; two rounds of the timer, and the way to the client
RESOLVER: Final = "10.0.0.1"  # of company.internal, by the stack
INSIDE: Final = "10.0.0.80"

# Answers every question for an IPv4 address with INSIDE, and any other with nothing.
_RESOLVER: Final = f"""\
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("{RESOLVER}", 53))
while True:
    query, asker = server.recvfrom(512)
    end = query.index(0, 12) + 5  # the name, its end, type and class
    has = query[end - 4 : end - 2] == b"\\0\\1"
    head = query[:2] + b"\\x81\\x80\\0\\1" + (b"\\0\\1" if has else b"\\0\\0") + bytes(4)
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + socket.inet_aton("{INSIDE}")
    server.sendto(head + query[12:end] + (record if has else b""), asker)
"""


def resolved(client: Client, name: str) -> set[str]:
    """What a program on the client's machine finds for a name, by IPv4."""
    said = client.host.exec(["getent", "ahostsv4", name], check=False)
    return {line.split()[0] for line in said.stdout.splitlines()}


def await_address(client: Client, name: str, address: str) -> None:
    """Wait until the client resolves the name to that address alone."""
    seen: list[set[str]] = [set()]

    def right() -> bool:
        seen[0] = resolved(client, name)
        return seen[0] == {address}

    until(right, within=SOON, what=f"{name} is {address}", seen=lambda: str(seen[0]))


def controls(mesh: Mesh) -> list[Host]:
    return [mesh.host("hs-1"), mesh.host("hs-2")]


@pytest.mark.parametrize("name", [two_clients.SERVER, f"{two_clients.SERVER}.{BASE}"])
def test_a_node_is_found_by_its_name_with_and_without_the_domain(mesh: Mesh, name: str) -> None:
    await_address(mesh.device, name, mesh.server.address)


def test_the_search_domains_of_the_stack_are_the_client_s(mesh: Mesh) -> None:
    told = json.loads(mesh.device.tailscale("dns", "status", "--json").stdout)

    assert sorted(told["SearchDomains"]) == ["company.local", BASE]


@pytest.mark.parametrize("name", ["grafana", f"grafana.{BASE}"])
def test_an_extra_record_is_answered(mesh: Mesh, name: str) -> None:
    await_address(mesh.device, name, GRAFANA)


def test_a_record_of_a_node_has_the_node_s_address(mesh: Mesh) -> None:
    await_address(mesh.device, "web", mesh.server.address)


def test_both_control_hosts_have_the_same_records(mesh: Mesh) -> None:
    def read(host: Host) -> Any:
        return json.loads(host.exec(["cat", FILE]).stdout)

    def same() -> bool:
        one, other = map(read, controls(mesh))
        return one == other and any(record.get("node") == two_clients.SERVER for record in one)

    until(same, within=SOON, what="both have the record of the node")
    names = {record["name"] for record in read(mesh.host("hs-2"))}
    assert f"gitlab.{BASE}" not in names, "there is no such node in the lab"


def test_the_active_host_tells_which_node_is_missing(mesh: Mesh) -> None:
    active = mesh.host(two_clients.active_name(mesh.world, mesh.outputs))

    said = active.exec(["mesh-registry", "records"])

    assert json.loads(said.stdout)["missing"] == {f"gitlab.{BASE}": "prod-gitlab-bj-001"}
    assert "there is no node prod-gitlab-bj-001" in said.stderr


@pytest.fixture
def fresh_record(mesh: Mesh) -> Iterator[None]:
    """One more fixed record, as a changed stack would bring it."""
    before = [(host, host.exec(["cat", CONFIG]).stdout) for host in controls(mesh)]
    for host, text in before:
        config = json.loads(text)
        config["fixed"].append({"name": f"fresh.{BASE}", "type": "A", "value": FRESH})
        _configure(host, json.dumps(config))
    yield
    for host, text in before:
        _configure(host, text)


def _configure(host: Host, text: str) -> None:
    host.exec(["tee", CONFIG], stdin=text.encode())
    host.exec(["systemctl", "start", "mesh-records.service"])


def test_a_new_record_needs_no_restart(mesh: Mesh, request: pytest.FixtureRequest) -> None:
    active = mesh.host(two_clients.active_name(mesh.world, mesh.outputs))
    before = guard_status(active)["server_pid"]

    request.getfixturevalue("fresh_record")

    await_address(mesh.device, "fresh", FRESH)
    assert guard_status(active)["server_pid"] == before


@pytest.fixture
def company_resolver(mesh: Mesh) -> Iterator[None]:
    """The resolver of the company's machine room; it stands on the device itself, at the address
    that every client asks."""
    host = mesh.device.host
    host.exec(["ip", "address", "add", f"{RESOLVER}/32", "dev", "lo"])
    host.exec(["tee", "/run/resolver.py"], stdin=_RESOLVER.encode())
    unit = ["systemd-run", "--unit=company-resolver", "--property=Restart=on-failure"]
    host.exec([*unit, "python3", "/run/resolver.py"])
    yield
    host.exec(["systemctl", "stop", "company-resolver.service"])
    host.exec(["ip", "address", "del", f"{RESOLVER}/32", "dev", "lo"])


@pytest.mark.parametrize("name", ["wiki.company.internal", "wiki.internal.company.com"])
def test_a_split_domain_is_asked_of_its_own_resolver(
    mesh: Mesh, company_resolver: None, name: str
) -> None:
    await_address(mesh.device, name, INSIDE)


def test_other_names_are_still_asked_of_the_general_resolver(
    mesh: Mesh, company_resolver: None
) -> None:
    server = mesh.outputs["server_url"].removeprefix("https://")

    addresses = resolved(mesh.device, server)

    assert addresses, "the server's own name must stay known"
    assert INSIDE not in addresses
