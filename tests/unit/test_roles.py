"""Covers what each role's bundle promises; the whole files are in tests/render/test_roles.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh import capacity, registry
from mesh.roles import parts, postgres
from mesh.settings import Size
from tests import bundles, stacks

HOSTS = ("hs-1", "hs-2", "pg-1", "pg-2", "ops-1", "derp-sh")
SECRETS = (
    *("SuperuserPassword", "ReplicationPassword", "RewindPassword", "HeadscalePassword"),
    "GuardPassword",
    *("privkey:", "KEY OF"),
)


def config(name: str, path: str, changes: dict[str, Any] | None = None) -> Any:
    return yaml.safe_load(bundles.files(bundles.build("prod", name, changes))[path].content)


@pytest.mark.parametrize("name", HOSTS)
def test_only_its_owner_reads_a_file_with_a_secret(name: str) -> None:
    for file in bundles.build("prod", name).files:
        if any(secret in file.content for secret in SECRETS):
            assert file.mode in ("0600", "0640"), f"{file.path} would be readable by everyone"


@pytest.mark.parametrize("name", HOSTS)
def test_no_secret_is_in_a_unit_a_command_or_an_address(name: str) -> None:
    built = bundles.build("prod", name)

    seen = [file.content for file in built.files if file.path.endswith(".service")]
    seen += [word for check in built.checks for word in check.command]
    seen += [artifact.url for artifact in built.artifacts]
    assert not [text for text in seen for secret in SECRETS if secret in text]


@pytest.mark.parametrize("name", HOSTS)
def test_what_restarts_a_unit_is_part_of_the_bundle(name: str) -> None:
    built = bundles.build("prod", name)

    known = {file.path for file in built.files} | {artifact.path for artifact in built.artifacts}
    for unit in built.units:
        missing = {*unit.restart_on, *unit.reload_on} - known
        assert not missing, f"{unit.name} waits for files that never come"


@pytest.mark.parametrize("name", HOSTS)
def test_every_check_shows_the_journal_of_a_unit_of_the_bundle(name: str) -> None:
    built = bundles.build("prod", name)

    assert built.checks
    assert {check.unit for check in built.checks} <= {unit.name for unit in built.units}


@pytest.mark.parametrize("name", HOSTS)
def test_the_same_input_gives_the_same_bundle(name: str) -> None:
    assert bundles.build("prod", name).to_json() == bundles.build("prod", name).to_json()


def test_headscale_has_no_unit_of_its_own_beside_the_guard() -> None:
    for name in ("hs-1", "hs-2"):
        units = {unit.name for unit in bundles.build("prod", name).units if unit.running}
        assert "mesh-guard.service" in units
        assert "headscale.service" not in units, "two live servers corrupt each other"


def test_control_hosts_differ_only_in_how_headscale_logs_into_the_database() -> None:
    first, second = (bundles.files(bundles.build("prod", name)) for name in ("hs-1", "hs-2"))
    configs = [yaml.safe_load(f["/etc/headscale/config.yaml"].content) for f in (first, second)]

    assert first["/etc/headscale/derp-full.json"] == second["/etc/headscale/derp-full.json"]
    assert [c["database"]["postgres"].pop("user") for c in configs] == [
        "headscale_hs_1",
        "headscale_hs_2",
    ]
    assert configs[0] == configs[1], "a fail-over must not change what clients see"


def test_each_guard_competes_with_the_other_host_at_every_voter() -> None:
    guards = [
        json.loads(bundles.files(bundles.build("prod", name))["/etc/mesh/guard.json"].content)
        for name in ("hs-1", "hs-2")
    ]

    assert [guard["host"] for guard in guards] == ["hs-1", "hs-2"]
    assert [guard["peers"] for guard in guards] == [["hs-2"], ["hs-1"]]
    assert guards[0]["prefix"] == guards[1]["prefix"]
    assert guards[0]["endpoints"] == [f"https://{v}:2379" for v in ("pg-1", "pg-2", "ops-1")]


def test_a_control_host_may_log_in_only_with_its_own_roles() -> None:
    rules = config("pg-1", "/etc/patroni/patroni.yml")["postgresql"]["pg_hba"]
    addresses = {name: stacks.build("prod").host(name).address for name in ("hs-1", "hs-2")}

    allowed = [rule.split()[2:4] for rule in rules if rule.startswith("hostssl headscale ")]
    assert allowed == [
        [f"{kind}_{name.replace('-', '_')}", f"{address}/32"]
        for name, address in addresses.items()
        for kind in ("headscale", "guard")
    ]


def test_etcd_members_agree_on_the_three_voters_and_vote_before_they_depose() -> None:
    members = [config(name, "/etc/etcd/etcd.yml") for name in ("pg-1", "pg-2", "ops-1")]

    assert len({member["initial-cluster"] for member in members}) == 1
    assert len(members[0]["initial-cluster"].split(",")) == 3
    assert all(member["pre-vote"] for member in members)
    for side in ("client-transport-security", "peer-transport-security"):
        assert all(member[side]["client-cert-auth"] for member in members)


def test_postgres_takes_nobody_without_tls_but_local_peers() -> None:
    rules = config("pg-1", "/etc/patroni/patroni.yml")["postgresql"]["pg_hba"]

    assert [rule for rule in rules if not rule.startswith("hostssl ")] == ["local all all peer"]
    assert all(rule.endswith("/32 scram-sha-256") for rule in rules[1:])


def test_patroni_checks_certificates_everywhere() -> None:
    patroni = config("pg-1", "/etc/patroni/patroni.yml")

    users = patroni["postgresql"]["authentication"].values()
    assert {user["sslmode"] for user in users} == {"verify-full"}
    assert patroni["etcd3"]["protocol"] == "https"
    assert patroni["restapi"]["verify_client"] == "optional"


@pytest.mark.parametrize(("recovery", "timing"), [("fast", (20, 1, 5)), ("normal", (30, 10, 10))])
def test_recovery_sets_the_timing_of_fail_over(recovery: str, timing: tuple[int, ...]) -> None:
    dynamic = config("pg-1", "/etc/patroni/dynamic.yml", {"recovery": recovery})

    assert (dynamic["ttl"], dynamic["loop_wait"], dynamic["retry_timeout"]) == timing
    assert dynamic["ttl"] >= dynamic["loop_wait"] + 2 * dynamic["retry_timeout"]


def test_the_first_start_and_later_changes_use_the_same_shared_settings() -> None:
    patroni = config("pg-1", "/etc/patroni/patroni.yml")

    assert patroni["bootstrap"]["dcs"] == config("pg-1", "/etc/patroni/dynamic.yml")


def test_postgres_gets_the_plans_memory_on_the_plans_host() -> None:
    memory = postgres.memory(Size(cpus=4, memory_gib=16, disk_gib=50, data_gib=500))

    assert memory["shared_buffers"] == "4096MB"
    assert memory["effective_cache_size"] == "12288MB"
    assert memory["maintenance_work_mem"] == "1024MB"
    assert memory["work_mem"] == "10MB"
    assert memory["max_wal_size"] == "4096MB"


def test_postgres_fits_a_host_of_one_gibibyte() -> None:
    memory = postgres.memory(Size(cpus=1, memory_gib=1, disk_gib=20, data_gib=20))

    assert memory["shared_buffers"] == "256MB"
    assert memory["work_mem"] == "1MB"
    assert memory["min_wal_size"] == "64MB", "PostgreSQL wants two segments of 16 MB at least"


def test_ubuntu_has_its_own_postgres() -> None:
    patroni = config("pg-1", "/etc/patroni/patroni.yml", {"os": "ubuntu-22.04"})

    assert patroni["postgresql"]["bin_dir"] == "/usr/lib/postgresql/14/bin"
    assert patroni["postgresql"]["data_dir"] == "/var/lib/postgresql/14/mesh"


@pytest.mark.parametrize(("memory", "clients"), [(1, 2000), (8, 16000), (64, 30000)])
def test_the_entry_serves_what_its_memory_carries(memory: int, clients: int) -> None:
    assert capacity.connections(memory) == clients
    assert clients * 2 < 65536, "each client takes two file descriptors"


def test_the_committed_registry_is_sound_and_stable() -> None:
    folder = stacks.REPOSITORY / "policy"

    loaded = registry.load(folder)

    assert loaded.to_json("seal", "2026-W01") == registry.load(folder).to_json("seal", "2026-W01")
    assert {"prod-servers", "operator-device"} <= {key.name for key in loaded.keys}
    assert json.loads(loaded.to_json("seal", "2026-W01"))["policy"] == loaded.policy


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("keys.yaml", "tag:web", "tag:wep", "keys[0].tags: 'tag:wep' is not in tagOwners"),
        ("keys.yaml", "user: zhangsan", "user: nobody", ".user: 'nobody' is not in"),
        ("keys.yaml", "2160", "0", "keys[0].expiration_hours: 0 is not allowed"),
        ("keys.yaml", "336", "2160", "keys[0].rotate_before_hours: 2160 is not allowed: must be"),
        (
            "keys.yaml",
            "hand_out: file}",
            "hand_out: once}",
            "api_keys[0].hand_out: 'once' is not allowed: input should be 'output' or 'file'",
        ),
        ("users.yaml", "group:qa", "group:qs", "users[3].admins: 'group:qs' is not in groups"),
        ("tags.yaml", "tag:mq", "tag:mqs", "tags[8].tags: 'tag:mqs' is not in tagOwners"),
        ("keys.yaml", "reusable: true", "reuseable: true", "keys[0].reuseable: no such key"),
        (
            "users.yaml",
            "name: lisi",
            "name: lisa",
            "policy.hujson:7: 'lisi@' is not in users.yaml; write lisa@",
        ),
        ("users.yaml", "name: staging", "name: prod", "users[2].name: 'prod' is taken"),
        (
            "policy.hujson",
            '"groups": {',
            '"groups": [',
            "policy.hujson:7: not HuJSON: expected a comma or ]",
        ),
    ],
)
def test_a_bad_registry_is_refused_by_name(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    for source in (stacks.REPOSITORY / "policy").iterdir():
        text = source.read_text()
        (tmp_path / source.name).write_text(
            text.replace(old, new, 1) if source.name == file else text
        )

    with pytest.raises(registry.RegistryError) as caught:
        registry.load(tmp_path)

    assert message in str(caught.value)


# Addresses


@pytest.mark.parametrize("nightly", [True, False])
def test_newcomers_are_placed_each_night_only_where_the_stack_says_so(nightly: bool) -> None:
    for name in ("hs-1", "hs-2"):
        built = bundles.build("prod", name, {"addresses_nightly": nightly})

        (timer,) = (unit for unit in built.units if unit.name == "mesh-addresses.timer")
        assert timer.running is nightly
        assert "OnCalendar=" in bundles.files(built)[parts.unit_path(timer.name)].content


# The arbiter


def test_without_the_setting_ops_has_nothing_of_an_arbiter() -> None:
    built = bundles.build("prod", "ops-1")

    assert "mesh-arbiter.service" not in [unit.name for unit in built.units]
    assert not [file.path for file in built.files if "arbiter" in file.path]


def test_the_arbiter_knows_both_databases_and_asks_its_own_voter_first() -> None:
    built = bundles.build("prod", "ops-1", {"arbiter": True})
    found = bundles.files(built)
    said = json.loads(found["/etc/mesh/arbiter.json"].content)

    assert "mesh-arbiter.service" in [unit.name for unit in built.units]
    assert said["endpoints"][0] == "https://ops-1:2379"
    assert len(said["endpoints"]) == 3
    assert said["ports"]["pg-2"] == ["pg-2:2379", "pg-2:5432", "pg-2:8008"]
    assert "/usr/local/lib/mesh/guard/arbiter/__main__.py" in found
    assert found["/etc/mesh/tls/arbiter.key"].mode == "0600"
    assert found["/etc/mesh/tls/arbiter.key"].owner == "arbiter"


@pytest.mark.parametrize(("recovery", "unrenewed"), [("fast", 6), ("normal", 20)])
def test_the_arbiter_waits_as_long_as_a_patroni_that_lives_may_need(
    recovery: str, unrenewed: int
) -> None:
    path = "/etc/mesh/arbiter.json"
    rules = config("ops-1", path, {"arbiter": True, "recovery": recovery})["rules"]
    patroni = config("pg-1", "/etc/patroni/dynamic.yml", {"recovery": recovery})

    assert rules["unrenewed"] == unrenewed == patroni["loop_wait"] + patroni["retry_timeout"]
    assert rules["doubt"] > patroni["loop_wait"]
    assert rules["unrenewed"] < patroni["ttl"], "or it would never be first"


def test_the_arbiter_watches_the_cluster_that_patroni_makes() -> None:
    said = config("ops-1", "/etc/mesh/arbiter.json", {"arbiter": True})
    patroni = config("pg-1", "/etc/patroni/patroni.yml")

    assert said["prefix"] == f"{patroni['namespace']}{patroni['scope']}"
    assert said["patroni"]["pg-1"] == f"https://{patroni['restapi']['connect_address']}"


def test_every_host_of_the_database_lets_the_arbiter_knock() -> None:
    topology = stacks.build("prod")
    arbiter = topology.host("ops-1").address

    for host in topology.having("database"):
        for port in (2379, 5432, 8008):
            allowing = [rule for rule in host.rules if rule.first_port <= port <= rule.last_port]
            assert any(arbiter in source for rule in allowing for source in rule.sources)


def test_a_relay_with_ipv6_takes_its_address_and_is_checked_for_a_way_out() -> None:
    plain = bundles.build("prod", "derp-bj")
    relay = bundles.build("prod", "derp-bj", {"relays.0.ipv6": True})

    units = [unit.name for unit in relay.units if unit not in plain.units]
    (check,) = [check for check in relay.checks if check not in plain.checks]
    assert bundles.files(relay)["/etc/mesh/ipv6.env"].content == f"MESH_IPV6={bundles.IPV6}\n"
    assert units == ["mesh-ipv6.service", "mesh-ipv6.timer"]
    assert bundles.IPV6 in check.command
