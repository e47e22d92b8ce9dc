"""What each of the three clouds is asked for where there is IPv6, seen with Pulumi's mocks."""

from __future__ import annotations

from dataclasses import replace

import pulumi
import pytest

from components import clouds
from mesh import topology
from mesh.catalogue import Cloud
from tests.unit.recorder import Recorder, run
from tests.unit.test_clouds import (
    CLOUDS,
    INSTANCE,
    RULES,
    host,
    ingress,
    make_instance,
    network,
    recorder,
    source_of,
    zone,
)

__all__ = ["recorder"]  # a fixture

EVERYONE: tuple[topology.Source, ...] = (topology.EVERYWHERE, topology.EVERYWHERE6)
RULES6 = (
    topology.Rule(protocol="tcp", first_port=443, last_port=443, sources=EVERYONE, why="HTTPS"),
    topology.Rule(
        protocol="icmpv6", first_port=0, last_port=0, sources=(topology.EVERYWHERE6,), why="ping"
    ),
)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_firewall_tells_the_address_families_apart(cloud: Cloud, recorder: Recorder) -> None:
    run(lambda: clouds.of(cloud).firewall("d", "prod", "net", RULES6, pulumi.ResourceOptions()))
    assert ingress(cloud, recorder) == {
        ("tcp", "443", "0.0.0.0/0"),
        ("tcp", "443", "::/0"),
        ("icmpv6", "", "::/0"),
    }


@pytest.mark.parametrize("cloud", ["tencentcloud", "aws"])  # the third lets out all by itself
@pytest.mark.parametrize(
    ("rules", "out"), [(RULES, {"0.0.0.0/0"}), (RULES6, {"0.0.0.0/0", "::/0"})]
)
def test_what_goes_out_by_ipv6_is_let_out_where_there_is_ipv6(
    cloud: Cloud, rules: tuple[topology.Rule, ...], out: set[str], recorder: Recorder
) -> None:
    run(lambda: clouds.of(cloud).firewall("d", "prod", "net", rules, pulumi.ResourceOptions()))
    sets = [rule for found in recorder.of("groupRuleSet") for rule in found["egresses"]]
    assert {source_of(rule) for rule in sets + recorder.of("securityGroupEgressRule")} == out


CLOUDS_RANGE = "2001:db8:5:100::/56"
GIVEN = {"alicloud": "2001:db8:5:101::7", "tencentcloud": "2001:db8:5:100::10",
         "aws": "2001:db8:5:100::10"}  # fmt: skip


def make_ipv6_host(cloud: Cloud, recorder: Recorder) -> str:
    """A relay's network and instance with IPv6; its address as it is published."""
    recorder.answers = lambda name: {
        "ipv6CidrBlock": CLOUDS_RANGE,
        "ipv6Address": GIVEN["alicloud"],  # which this cloud chooses itself
    }
    spec = replace(network(cloud), subnets=network(cloud).subnets[:1], ipv6=True)
    relay = host(cloud, name="derp-bj", ipv6=True, stateful=False)
    seen: list[str] = []

    def program() -> pulumi.Output[None]:
        api, opts = clouds.of(cloud), pulumi.ResourceOptions()
        net = api.network("derp-bj", "prod", spec, opts)
        address = api.ipv6_address(
            "derp-bj", "prod", net.subnets["public-1"], net.ipv6["public-1"], opts
        )
        args = clouds.InstanceArgs(
            environment="prod", network_id=net.network, subnet_id=net.subnets["public-1"],
            firewall_id="fw", key_pair="key", user_data="", ipv6=address, os="debian-12",
            protect=False,
        )  # fmt: skip
        made = api.instance("derp-bj", relay, args, opts)
        return api.public_ipv6("derp-bj", "prod", made, relay, args, opts).apply(seen.append)

    run(program)
    return seen[0]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_ipv6_address_that_is_published_is_the_hosts_own(
    cloud: Cloud, recorder: Recorder
) -> None:
    published = make_ipv6_host(cloud, recorder)

    assert published == GIVEN[cloud]
    if cloud == "tencentcloud":
        (own,) = recorder.of("Eni/ipv6Address")
        assert own["networkInterfaceId"] == "eni-1", "the card that the host was born with"
        assert [entry["address"] for entry in own["ipv6Addresses"]] == [published]
    else:
        assert recorder.one(INSTANCE[cloud])["ipv6Addresses"] == [published]


def test_aws_leads_both_families_to_the_internet(recorder: Recorder) -> None:
    make_ipv6_host("aws", recorder)

    routes = recorder.of("route:Route")
    targets = {r.get("destinationCidrBlock") or r["destinationIpv6CidrBlock"] for r in routes}
    assert targets == {"0.0.0.0/0", "::/0"}
    assert {route["gatewayId"] for route in routes} == {"derp-bj-id"}
    (subnet,) = recorder.of("subnet:Subnet")
    assert subnet["ipv6CidrBlock"] == "2001:db8:5:100::/64"


@pytest.mark.parametrize(
    ("cloud", "type", "bandwidth"),
    [
        ("alicloud", "ipv6InternetBandwidth", "bandwidth"),
        ("tencentcloud", "elasticPublicIpv6", "internetMaxBandwidthOut"),
    ],
)
def test_mainland_clouds_are_asked_for_bandwidth_of_the_address(
    cloud: Cloud, type: str, bandwidth: str, recorder: Recorder
) -> None:
    make_ipv6_host(cloud, recorder)

    (found,) = recorder.of(type)
    assert found[bandwidth] == 20


@pytest.mark.parametrize("cloud", CLOUDS)
def test_without_ipv6_no_cloud_is_asked_for_anything_of_it(
    cloud: Cloud, recorder: Recorder
) -> None:
    run(lambda: clouds.of(cloud).network("home", "prod", network(cloud), pulumi.ResourceOptions()))
    make_instance(cloud, recorder)

    asked = {key for _, _, inputs in recorder.made for key, value in inputs.items() if value}
    assert not [key for key in asked if "ipv6" in key.lower()]
    assert not recorder.of("ipv6")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_name_has_records_of_the_kind_that_is_asked_for(cloud: Cloud, recorder: Recorder) -> None:
    opts = pulumi.ResourceOptions()
    run(
        lambda: clouds.of(cloud).record(
            "d-ipv6", zone(cloud), "d", "AAAA", ["2001:db8::1"], 600, opts
        )
    )
    (record,) = recorder.of("record")
    assert record.get("type") == "AAAA" or record["recordType"] == "AAAA"
