"""IPv6 of the clouds in the world's words, and in the router's: pure, without hosts or root.

Whether the world does what these words say is in test_world_network_ipv6.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.effects import alicloud, aws, tencentcloud
from lab.resource import Resource
from lab.world import ruleset
from lab.world.model import Attachment, Group, Model, Network, Part, Rule, Subnet
from tests.lab.test_world_effects import (
    ALI_HOST,
    AWS_SUBNET,
    AWS_VPC,
    GATEWAY,
    SWITCH,
    TENCENT_SUBNET,
    TENCENT_VPC,
    VPC,
    only,
    res,
    view,
)

ADDRESS = "2001:db8:5::10"
ALI_HOST6 = replace(ALI_HOST, outputs={**ALI_HOST.outputs, "ipv6Addresses": [ADDRESS]})
ALI_BANDWIDTH = (
    res("alicloud:vpc/ipv6Address:Ipv6Address", "a", vswitchId="vsw", ipv6Address=ADDRESS),
    res("alicloud:vpc/ipv6InternetBandwidth:Ipv6InternetBandwidth", "a", ipv6AddressId="a"),
)
TENCENT_HOST = res(
    "tencentcloud:Instance/instance:Instance",
    "ins-1",
    vpcId="v",
    subnetId="s",
    privateIp="10.2.1.4",
)
TENCENT_ADDRESS = res(
    "tencentcloud:Eni/ipv6Address:Ipv6Address",
    "eni-1",
    networkInterfaceId="eni-1",
    ipv6Addresses=[{"address": ADDRESS}],
)
TENCENT_BANDWIDTH = res(
    "tencentcloud:Classic/elasticPublicIpv6:ElasticPublicIpv6", "b", ip6Address=ADDRESS
)
AWS_HOST = res(
    "aws:ec2/instance:Instance",
    "i",
    subnetId="s",
    privateIp="10.3.1.4",
    ipv6Addresses=[ADDRESS],
)
AWS_WAY = res(
    "aws:ec2/route:Route",
    "r6",
    routeTableId="main",
    destinationIpv6CidrBlock="::/0",
    gatewayId="igw",
)


@pytest.mark.parametrize(
    ("cloud", "resources", "opener"),
    [
        (alicloud, (VPC, SWITCH, ALI_HOST6), ALI_BANDWIDTH),
        (
            tencentcloud,
            (TENCENT_VPC, TENCENT_SUBNET, TENCENT_HOST, TENCENT_ADDRESS),
            (TENCENT_BANDWIDTH,),
        ),
        (aws, (AWS_VPC, AWS_SUBNET, GATEWAY, AWS_HOST), (AWS_WAY,)),
    ],
)
def test_an_ipv6_address_is_open_once_the_cloud_was_asked_for_a_way(
    cloud: Any, resources: tuple[Resource, ...], opener: tuple[Resource, ...]
) -> None:
    (closed,) = only(cloud.part(view(*resources))).attachments
    (opened,) = only(cloud.part(view(*resources, *opener))).attachments

    assert (closed.ipv6, closed.ipv6_open) == (ADDRESS, False)
    assert (opened.ipv6, opened.ipv6_open) == (ADDRESS, True)


@pytest.mark.parametrize(
    ("cloud", "resources"),
    [
        (
            alicloud,
            (VPC, replace(SWITCH, outputs={**SWITCH.outputs, "ipv6CidrBlock": "2001:db8:5::/64"})),
        ),
        (
            tencentcloud,
            (
                TENCENT_VPC,
                TENCENT_SUBNET,
                res(
                    "tencentcloud:Vpc/ipv6SubnetCidrBlock:Ipv6SubnetCidrBlock",
                    "v#s",
                    vpcId="v",
                    ipv6SubnetCidrBlocks={"subnetId": "s", "ipv6CidrBlock": "2001:db8:5::/64"},
                ),
            ),
        ),
        (
            aws,
            (
                AWS_VPC,
                replace(
                    AWS_SUBNET, outputs={**AWS_SUBNET.outputs, "ipv6CidrBlock": "2001:db8:5::/64"}
                ),
            ),
        ),
    ],
)
def test_a_subnet_has_the_ipv6_range_that_its_cloud_gave_it(
    cloud: Any, resources: tuple[Resource, ...]
) -> None:
    (subnet,) = only(cloud.part(view(*resources))).subnets

    assert subnet.ipv6 == "2001:db8:5::/64"


# The router's rules


def tables(*rules: Rule, ipv6: str | None = None, open_: bool = False) -> dict[str, str]:
    """The router's text by address family, with one host in a group of these rules."""
    place = Attachment(
        host="h", subnet="s", address="10.0.0.5", groups=("g",), ipv6=ipv6, ipv6_open=open_
    )
    network = Network(
        id="n",
        cidrs=("10.0.0.0/16",),
        subnets=(Subnet(id="s", cidr="10.0.0.0/24", gateway="10.0.0.1"),),
        groups=(Group(id="g", rules=rules),),
        attachments=(place,),
    )
    text = ruleset.router(network, "198.19.0.1", Model({"me": Part(networks=(network,))}))
    v4, _, v6 = text.partition("table ip6 lab {")
    return {"v4": v4, "v6": v6}


def received(table: str) -> str:
    return table.partition("chain to_")[2]


def test_a_rule_speaks_of_its_own_address_family_only() -> None:
    found = tables(Rule(direction="in", peer="::/0"), ipv6="2001:db8::5")

    assert "accept" not in received(found["v4"])
    assert "accept" in received(found["v6"])


def test_a_rule_by_an_empty_group_matches_nothing() -> None:
    found = tables(Rule(direction="in", peer="group:nobody"), ipv6="2001:db8::5")

    assert not any("accept" in received(table) for table in found.values())


def test_a_host_without_an_ipv6_address_sends_nothing_over_ipv6() -> None:
    found = tables(Rule(direction="out", peer="::/0"))

    sent = found["v6"].partition("chain from_")[2].partition("}")[0]
    assert sent.split()[-1] == "drop" and "return" not in sent


def test_an_ipv6_address_leads_in_and_out_only_where_it_is_open() -> None:
    closed, opened = (
        tables(Rule(direction="in", peer="::/0"), ipv6="2001:db8::5", open_=is_open)["v6"]
        for is_open in (False, True)
    )

    assert 'iifname "internet" drop' in closed
    assert "saddr { 2001:db8::5 } accept" not in closed
    assert 'iifname "internet" ip6 daddr != { 2001:db8::5 } drop' in opened
    assert "ip6 saddr { 2001:db8::5 } accept" in opened
