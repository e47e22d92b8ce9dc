"""Covers Headscale's configuration and DERP map as functions of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from mesh import capacity, derp, headscale
from mesh.roles import postgres
from tests import bundles, stacks


def configuration(changes: Mapping[str, Any] | None = None) -> Any:
    login = headscale.Login(host="postgres.mesh.internal", user="headscale_hs_1", password="x")
    settings, topology = stacks.load("prod", changes), stacks.build("prod", changes)
    return yaml.safe_load(headscale.configuration(settings, topology, login))


def test_the_server_is_reached_by_its_public_name() -> None:
    assert configuration()["server_url"] == "https://hs.ops.company.com"


def test_the_database_is_reached_by_a_name_in_its_certificate() -> None:
    postgres = configuration()["database"]["postgres"]

    assert postgres["host"] == "postgres.mesh.internal"
    assert postgres["ssl"] == "verify-full", "true would fall back to clear text"


def test_only_the_two_proxies_may_say_where_a_client_is() -> None:
    assert configuration()["trusted_proxies"] == ["10.10.0.10/32", "10.10.2.10/32"]


def test_metrics_and_remote_control_stay_on_the_host() -> None:
    config = configuration()

    assert config["metrics_listen_addr"].startswith("127.0.0.1:")
    assert config["grpc_listen_addr"].startswith("127.0.0.1:")


def test_split_dns_uses_the_key_that_headscale_reads() -> None:
    nameservers = configuration()["dns"]["nameservers"]

    assert nameservers["split"]["company.internal"] == ["10.0.0.1", "10.0.0.2"]
    assert "restricted" not in nameservers, "Headscale ignores it silently"


def test_nothing_that_headscale_no_longer_knows_is_written() -> None:
    config = configuration()

    gone = {"private_key_path", "node_update_check_interval", "ephemeral_node_inactivity_timeout"}
    assert not gone & config.keys()
    assert config["node"]["ephemeral"]["inactivity_timeout"] == "30m"


def test_clients_use_our_relays_only() -> None:
    config = configuration()["derp"]

    assert config["urls"] == []
    assert config["paths"] == [derp.MAP]
    assert config["server"]["enabled"] is False


def test_the_tuning_follows_from_the_host_and_the_expected_nodes() -> None:
    assert configuration()["tuning"] == capacity.headscale(4, 8, 1000, capacity.Tuning())
    assert configuration({"expected_nodes": 50})["tuning"] == capacity.headscale(
        4, 8, 50, capacity.Tuning()
    )


def test_a_chosen_tuning_is_what_headscale_gets() -> None:
    chosen = {"batcher_workers": 3, "batch_delay_ms": 1200, "queue": 500}

    tuning = configuration({"tuning": chosen})["tuning"]

    assert tuning["batcher_workers"] == 3
    assert tuning["batch_change_delay"] == "1200ms"
    assert tuning["node_mapsession_buffered_chan_size"] == 500


def test_the_database_has_room_for_all_connections_of_headscale() -> None:
    assert configuration()["database"]["postgres"]["max_open_conns"] == headscale.POOL
    assert headscale.POOL + postgres.OTHERS <= postgres.MAX_CONNECTIONS


def test_headscale_knows_how_much_memory_is_its_own() -> None:
    built = bundles.build("prod", "hs-1")

    text = bundles.files(built)["/etc/mesh/headscale.env"].content
    (guard,) = (unit for unit in built.units if unit.name == "mesh-guard.service")
    assert text.splitlines()[-1] == f"GOMEMLIMIT={capacity.memory_limit_mib(8)}MiB"
    assert "/etc/mesh/headscale.env" in guard.restart_on, "a reload keeps the environment"


def test_the_password_is_only_in_files_that_headscale_and_root_may_read() -> None:
    built = bundles.build("prod", "hs-1")

    password = bundles.PASSWORDS.controls["hs-1"].headscale
    holders = {file.path: file.mode for file in built.files if password in file.content}
    assert holders == {"/etc/headscale/config.yaml": "0640", "/etc/mesh/headscale.password": "0600"}
