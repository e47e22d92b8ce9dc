"""Covers the topology that follows from settings: hosts, zones, addresses, firewall, names."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import catalogue, topology
from tests import stacks

AWS_HOME: dict[str, Any] = {
    "control.cloud": "aws",
    "control.region": "ap-southeast-1",
    "control.zones": ["ap-southeast-1a", "ap-southeast-1b", "ap-southeast-1c"],
}


def test_each_pair_stands_in_two_zones_and_the_voters_in_three() -> None:
    built = stacks.build("prod")

    for role in ("control", "database"):
        assert len({host.zone for host in built.having(role)}) == 2
    assert len({host.zone for host in built.voters}) == 3, "a lost zone must leave a majority"


@pytest.mark.parametrize("stack", stacks.NAMES)
def test_every_stack_has_the_nine_hosts_of_the_plan(stack: str) -> None:
    names = [host.name for host in stacks.build(stack).hosts]

    assert names == ["hs-1", "hs-2", "pg-1", "pg-2", "ops-1", "derp-bj", "derp-sh", "derp-hk",
                     "derp-sg"]  # fmt: skip


def test_a_second_relay_of_a_region_has_a_host_a_network_and_a_name_of_its_own() -> None:
    relays = stacks.values("prod")["relays"]
    second = {**relays[0], "number": 2, "cidr": "10.20.9.0/24"}

    built = stacks.build("prod", {"relays": [*relays, second]})

    first, other = built.host("derp-bj"), built.host("derp-bj-2")
    assert (first.cloud, first.zone) == (other.cloud, other.zone)
    assert first.network != other.network
    assert [r.hosts for r in built.records if r.label == "derp-bj-2"] == [("derp-bj-2",)]


def test_databases_have_no_public_address_and_open_nothing_to_the_world() -> None:
    for host in stacks.build("prod").having("database"):
        assert not host.public
        open_to_all = [r for r in host.rules if topology.EVERYWHERE in r.sources]
        assert [rule.protocol for rule in open_to_all] == ["icmp"]


def test_without_the_setting_nobody_has_ipv6() -> None:
    built = stacks.build("prod")

    assert not any(host.ipv6 for host in built.hosts)
    ranges = {network.cloud for network in built.networks if network.ipv6}
    assert ranges <= {"aws"}, "where one is free, and cannot be given back"
    assert not any(s.version == 6 for host in built.hosts for r in host.rules for s in r.sources)


def test_a_relay_with_ipv6_is_open_to_it_on_the_same_ports() -> None:
    host = stacks.build("prod", {"relays.1.ipv6": True}).host("derp-sh")

    def ports(family: topology.Source) -> set[tuple[str, int]]:
        return {
            (rule.protocol.removesuffix("v6"), rule.first_port)
            for rule in host.rules
            if family in rule.sources
        }

    assert host.ipv6
    assert ports(topology.EVERYWHERE6) == ports(topology.EVERYWHERE)


def test_an_ipv6_address_lies_beyond_what_clouds_keep() -> None:
    subnet = topology.ipv6_subnet("2001:db8:5:100::/56")

    assert subnet == "2001:db8:5:100::/64"
    assert topology.ipv6_address(subnet) == "2001:db8:5:100::10"


def test_operators_come_in_by_ssh_only_from_their_networks() -> None:
    settings, built = stacks.load("prod"), stacks.build("prod")

    for host in built.hosts:
        (ssh,) = (rule for rule in host.rules if rule.first_port == 22)
        allowed = {*settings.admin_cidrs, settings.control.cidr}
        assert set(ssh.sources) <= allowed, f"{host.name} is open to {ssh.sources}"


def test_the_server_has_one_public_name_with_both_control_hosts() -> None:
    (record,) = (r for r in stacks.build("prod").records if r.label == "hs")

    assert record.hosts == ("hs-1", "hs-2")


def test_the_control_plane_moves_to_another_cloud_by_settings_alone() -> None:
    built = stacks.build("prod", AWS_HOME)

    assert {host.cloud for host in built.hosts if host.role != "relay"} == {"aws"}


@given(prefix=st.integers(min_value=16, max_value=24), second=st.integers(0, 15))
def test_every_private_address_is_one_that_the_cloud_gives_out(prefix: int, second: int) -> None:
    cidr = ipaddress.ip_network(f"10.{second}.0.0/{prefix}")
    built = stacks.build("prod", {"control.cidr": str(cidr), **AWS_HOME})

    for host in built.hosts:
        subnet = built.network(host.network).subnet(host.subnet)
        first, last = topology.usable(host.cloud, subnet.cidr)
        assert first <= host.address <= last
        assert host.zone == subnet.zone


@pytest.mark.parametrize("cloud", catalogue.OFFERS)
def test_every_cloud_sells_the_sizes_of_the_plan(cloud: catalogue.Cloud) -> None:
    plan = {(4, 8), (4, 16), (2, 4)}  # section 4.1

    assert plan <= set(catalogue.OFFERS[cloud].instance_types)
