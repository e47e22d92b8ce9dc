"""Covers the way of an extra record from a control host's file to a client's answer, with the real
Headscale, client and database.

Needs dist/ (make artifacts), PostgreSQL and port 53 of a loopback address.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from registry import records
from registry.place import Place
from registry.records import Config, Here
from tests.dns import tailnet
from tests.dns.tailnet import Resolver, Tailnet
from tests.guard import waiting
from tests.guard.database import PASSWORD, Database
from tests.relays.mesh import program

NODE: Final = "prod-web-bj-001"
BASE: Final = "ts.company.local"
WEB: Final = f"web.{BASE}"
GRAFANA: Final = f"grafana.{BASE}"


def fixed(value: str, name: str = GRAFANA) -> dict[str, str]:
    return {"name": name, "type": "AAAA" if ":" in value else "A", "value": value}


def until_asked(net: Tailnet, name: str, addresses: set[str]) -> None:
    """Wait until the client answers for a name with these addresses."""
    what = f"{name} is {sorted(addresses) or 'unknown'}"
    waiting.eventually(what, lambda: net.asked(name) == addresses)


@pytest.fixture(scope="module")
def records_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Headscale watches."""
    path = tmp_path_factory.mktemp("records") / "records.json"
    path.write_text("[]")
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory, records_file: Path) -> Iterator[Tailnet]:
    """Headscale with one node that asks."""
    resolver = Resolver()
    made = Tailnet(tmp_path_factory.mktemp("net"), records_file)
    try:
        made.start()
        made.join(NODE)
        yield made
    finally:
        made.end()
        resolver.end()


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """A database with the fence."""
    made = Database()
    yield made
    made.end()


@pytest.fixture
def here(net: Tailnet, database: Database, tmp_path: Path) -> Here:
    """A control host that runs this Headscale."""
    status, password, guard = (tmp_path / name for name in ("status", "password", "guard.json"))
    status.write_text(json.dumps({"role": "active", "server_answers": True}))
    password.write_text(PASSWORD)
    login = f"host=127.0.0.1 port={database.port} dbname=headscale user=guard_hs_1"
    guard.write_text(
        json.dumps({"status_file": str(status), "database": login, "password_file": str(password)})
    )
    return Here(Place(headscale=program("headscale"), config=net.server_config, guard=guard))


def test_a_changed_record_reaches_a_client_without_a_restart(
    net: Tailnet, here: Here, records_file: Path
) -> None:
    for value in ("100.64.2.10", "100.64.2.11", "100.64.2.12"):
        records.refresh(Config(records_file, (fixed(value),), {}), here)
        until_asked(net, GRAFANA, {value})

    records.refresh(Config(records_file, (), {}), here)

    until_asked(net, GRAFANA, set())


def test_a_record_of_a_node_is_answered_with_its_addresses(
    net: Tailnet, here: Here, records_file: Path
) -> None:
    (known,) = net.headscale("nodes", "list")
    ipv4, ipv6 = known["ip_addresses"]

    result = records.refresh(Config(records_file, (), {WEB: NODE, "x.test": "nobody"}), here)

    assert result.records == {WEB: [ipv4, ipv6]}
    assert result.missing == {"x.test": "nobody"}
    assert not result.warnings
    until_asked(net, WEB, {ipv4})
    assert net.asked(WEB, "AAAA") == {ipv6}


def test_the_standby_finds_the_node_in_the_database(
    here: Here, tmp_path: Path, records_file: Path
) -> None:
    on_active = records.refresh(Config(records_file, (), {WEB: NODE}), here)
    (tmp_path / "status").write_text(json.dumps({"role": "standby", "server_answers": False}))

    on_standby = records.refresh(Config(tmp_path / "other.json", (), {WEB: NODE}), here)

    assert not on_standby.warnings
    assert on_standby.records == on_active.records
    assert (tmp_path / "other.json").read_bytes() == records_file.read_bytes()


def test_a_client_answers_with_one_address_of_a_family_only(
    net: Tailnet, here: Here, records_file: Path
) -> None:
    two = (fixed("100.64.2.21"), fixed("100.64.2.22"))

    records.refresh(Config(records_file, two, {}), here)

    waiting.eventually("an answer", lambda: net.asked(GRAFANA) & {"100.64.2.21", "100.64.2.22"})
    assert len(net.asked(GRAFANA)) == 1, "else the settings could allow a list of two"


def test_a_record_outside_of_the_mesh_s_domain_is_answered_before_a_split_domain(
    net: Tailnet, here: Here, records_file: Path
) -> None:
    inside = "jira.company.internal"

    records.refresh(Config(records_file, (fixed("100.64.2.30", inside),), {}), here)

    until_asked(net, inside, {"100.64.2.30"})
    assert net.asked(tailnet.INSIDE) == {tailnet.INSIDE_ADDRESS}, "the rest goes to its resolver"


def test_a_record_with_the_name_of_a_node_hides_the_node(
    net: Tailnet, here: Here, records_file: Path
) -> None:
    records.refresh(Config(records_file, (fixed("100.64.2.35", f"{NODE}.{BASE}"),), {}), here)
    until_asked(net, f"{NODE}.{BASE}", {"100.64.2.35"})

    records.refresh(Config(records_file, (), {}), here)
    until_asked(net, f"{NODE}.{BASE}", {net.headscale("nodes", "list")[0]["ip_addresses"][0]})


def test_an_alias_is_dropped_by_the_client(net: Tailnet, here: Here, records_file: Path) -> None:
    alias = {"name": f"gitlab.{BASE}", "type": "CNAME", "value": f"{NODE}.{BASE}"}

    records.refresh(Config(records_file, (alias, fixed("100.64.2.40")), {}), here)

    until_asked(net, GRAFANA, {"100.64.2.40"})
    assert net.asked(f"gitlab.{BASE}") == set(), "else the settings could allow a CNAME"


def test_names_of_nodes_and_search_domains_are_told(net: Tailnet) -> None:
    (known,) = net.headscale("nodes", "list")

    assert net.asked(f"{NODE}.{BASE}") == {known["ip_addresses"][0]}
    told = json.loads(net.tailscale("dns", "status", "--json"))
    assert sorted(told["SearchDomains"]) == ["company.local", BASE], "each of them once"


def test_headscale_follows_many_changes_in_a_row(
    net: Tailnet, here: Here, records_file: Path
) -> None:
    for number in range(1, 41):
        records.refresh(Config(records_file, (fixed(f"100.64.9.{number}"),), {}), here)

    until_asked(net, GRAFANA, {"100.64.9.40"})


def test_a_file_that_somebody_still_reads_is_followed_once_he_has_done(
    net: Tailnet, here: Here, records_file: Path
) -> None:
    with records_file.open():  # the watch ends with the file, and the file with its last reader
        for value in ("100.64.2.50", "100.64.2.51"):
            records.refresh(Config(records_file, (fixed(value),), {}), here)

    until_asked(net, GRAFANA, {"100.64.2.51"})


def test_headscale_does_not_start_without_the_file(tmp_path: Path) -> None:
    lonely = Tailnet(tmp_path, tmp_path / "missing.json")
    lonely.server.start()

    waiting.eventually(
        "it says why", lambda: "extrarecord manager" in lonely.server_log.read_text(), within=15
    )
    lonely.end()


def test_the_file_is_one_that_headscale_may_read(here: Here, tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        records.refresh(Config(tmp_path / "records.json", (), {}), here)
    finally:
        os.umask(mask)

    assert (tmp_path / "records.json").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.glob("records*")] == ["records.json"]
