"""What the simulated Alibaba Cloud refuses, each case with the property it names."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.resource import CloudError
from tests.engine.lab_region import Case, Known, RefusedError, Region, case_ids

NETWORK, SWITCH = "alicloud:vpc/network:Network", "alicloud:vpc/switch:Switch"
ALI_GROUP = "alicloud:ecs/securityGroup:SecurityGroup"
ALI_RULE = "alicloud:ecs/securityGroupRule:SecurityGroupRule"
ALI_INSTANCE, ALI_EIP = "alicloud:ecs/instance:Instance", "alicloud:ecs/eipAddress:EipAddress"
ALI_LINK = "alicloud:ecs/eipAssociation:EipAssociation"
ALI_RECORD, ALI_BUCKET = "alicloud:dns/alidnsRecord:AlidnsRecord", "alicloud:oss/bucket:Bucket"


@pytest.fixture
def alicloud(tmp_path: Path) -> Region:
    return Region("alicloud", "cn-beijing", tmp_path)


@pytest.fixture
def ali_network(alicloud: Region) -> Known:
    vpc = alicloud.make(NETWORK, "main", cidrBlock="10.0.0.0/16")
    other = alicloud.make(NETWORK, "other", cidrBlock="10.0.0.0/16")
    found = alicloud.handler.invoke(
        "alicloud:ecs/getImages:getImages", {"nameRegex": "^debian_12", "owners": "system"}
    )
    return {
        "vpc": vpc,
        "switch": alicloud.make(
            SWITCH, "a", vpcId=vpc, cidrBlock="10.0.1.0/24", zoneId="cn-beijing-a"
        ),
        "group": alicloud.make(ALI_GROUP, "main", vpcId=vpc),
        "foreign": alicloud.make(ALI_GROUP, "foreign", vpcId=other),
        "image": found["ids"][0],
        "bucket": alicloud.make(ALI_BUCKET, "bucket", bucket="lab-bucket"),
    }


def ali_host(known: Known, **changes: Any) -> dict[str, Any]:
    settled = {
        "imageId": known["image"],
        "instanceType": "ecs.g7.large",
        "vswitchId": known["switch"],
        "securityGroups": [known["group"]],
    }
    return {key: value for key, value in {**settled, **changes}.items() if value is not None}


def ali_rule(known: Known, **changes: Any) -> dict[str, Any]:
    settled = {
        "securityGroupId": known["group"],
        "type": "ingress",
        "ipProtocol": "tcp",
        "portRange": "22/22",
        "cidrIp": "0.0.0.0/0",
    }
    return {**settled, **changes}


def ali_record(**changes: Any) -> dict[str, Any]:
    return {"domainName": "example.com", "rr": "www", "type": "A", "value": "192.0.2.1", **changes}


ALI_CASES: list[Case] = [
    (
        "no zone",
        SWITCH,
        lambda k: {"vpcId": k["vpc"], "cidrBlock": "10.0.2.0/24"},
        "zoneId",
    ),
    (
        "an unknown zone",
        SWITCH,
        lambda k: {"vpcId": k["vpc"], "cidrBlock": "10.0.2.0/24", "zoneId": "cn-beijing-z"},
        "zoneId",
    ),
    (
        "overlapping switches",
        SWITCH,
        lambda k: {"vpcId": k["vpc"], "cidrBlock": "10.0.1.0/25", "zoneId": "cn-beijing-b"},
        "cidrBlock",
    ),
    ("one port without a slash", ALI_RULE, lambda k: ali_rule(k, portRange="22"), "portRange"),
    ("port zero", ALI_RULE, lambda k: ali_rule(k, portRange="0/0"), "portRange"),
    (
        "ports of a protocol that has none",
        ALI_RULE,
        lambda k: ali_rule(k, ipProtocol="icmp", portRange="1/10"),
        "portRange",
    ),
    ("an unknown protocol", ALI_RULE, lambda k: ali_rule(k, ipProtocol="TCP"), "ipProtocol"),
    ("a priority over 100", ALI_RULE, lambda k: ali_rule(k, priority=101), "priority"),
    (
        "no security group",
        ALI_INSTANCE,
        lambda k: ali_host(k, securityGroups=None),
        "securityGroups",
    ),
    (
        "a firewall of another network",
        ALI_INSTANCE,
        lambda k: ali_host(k, securityGroups=[k["foreign"]]),
        "securityGroups[0]",
    ),
    ("an unknown image", ALI_INSTANCE, lambda k: ali_host(k, imageId="debian.vhd"), "imageId"),
    (
        "an instance type of another cloud",
        ALI_INSTANCE,
        lambda k: ali_host(k, instanceType="t3.small"),
        "instanceType",
    ),
    (
        "an address the cloud keeps",
        ALI_INSTANCE,
        lambda k: ali_host(k, privateIp="10.0.1.253"),
        "privateIp",
    ),
    (
        "user data over 16 KiB under base64",
        ALI_INSTANCE,
        lambda k: ali_host(k, userData=base64.b64encode(b"x" * 16385).decode()),
        "userData",
    ),
    (
        "a disk smaller than the image",
        ALI_INSTANCE,
        lambda k: ali_host(k, systemDiskSize=10),
        "systemDiskSize",
    ),
    ("a lifetime below the free edition's", ALI_RECORD, lambda _k: ali_record(ttl=60), "ttl"),
    ("a name for an address", ALI_RECORD, lambda _k: ali_record(value="www"), "value"),
    (
        "mail without priority",
        ALI_RECORD,
        lambda _k: ali_record(type="MX", value="m.x"),
        "priority",
    ),
    (
        "a gateway of the old kind",
        "alicloud:vpc/natGateway:NatGateway",
        lambda k: {"vpcId": k["vpc"], "vswitchId": k["switch"]},
        "natType",
    ),
    ("a bucket's name with a dot", ALI_BUCKET, lambda _k: {"bucket": "a.b.c"}, "bucket"),
]


@pytest.mark.parametrize(("why", "type", "inputs", "property"), ALI_CASES, ids=case_ids)
def test_alicloud_refuses(
    alicloud: Region,
    ali_network: Known,
    why: str,
    type: str,
    inputs: Callable[[Known], dict[str, Any]],
    property: str,
) -> None:
    with pytest.raises(RefusedError) as refused:
        alicloud.make(type, "case", **inputs(ali_network))

    assert refused.value.property == property, f"{why}: {refused.value}"


def test_an_alicloud_address_serves_one_host(alicloud: Region, ali_network: Known) -> None:
    hosts = [alicloud.make(ALI_INSTANCE, name, **ali_host(ali_network)) for name in ("a", "b")]
    addresses = [alicloud.make(ALI_EIP, name, bandwidth="5") for name in ("a", "b")]
    alicloud.make(ALI_LINK, "a", allocationId=addresses[0], instanceId=hosts[0])

    with pytest.raises(RefusedError, match="allocationId: IncorrectEipStatus"):
        alicloud.make(ALI_LINK, "b", allocationId=addresses[0], instanceId=hosts[1])
    with pytest.raises(RefusedError, match="instanceId: "):
        alicloud.make(ALI_LINK, "c", allocationId=addresses[1], instanceId=hosts[0])


def test_a_paid_dns_edition_allows_shorter_lifetimes(alicloud: Region) -> None:
    alicloud.store.set_setting("alicloud.minimum_ttl", "60")

    alicloud.make(ALI_RECORD, "www", **ali_record(ttl=60))


def test_the_same_record_twice_is_refused_but_two_addresses_are_not(alicloud: Region) -> None:
    alicloud.make(ALI_RECORD, "one", **ali_record())
    alicloud.make(ALI_RECORD, "two", **ali_record(value="192.0.2.2"))

    with pytest.raises(RefusedError, match="DomainRecordDuplicate"):
        alicloud.make(ALI_RECORD, "three", **ali_record())
    with pytest.raises(RefusedError, match="DomainRecordConflict"):
        alicloud.make(ALI_RECORD, "four", **ali_record(type="CNAME", value="a.example.org"))


def test_a_snat_entry_waits_for_the_address_of_its_gateway(
    alicloud: Region, ali_network: Known
) -> None:
    nat_type = "alicloud:vpc/natGateway:NatGateway"
    nat = alicloud.make(
        nat_type,
        "nat",
        vpcId=ali_network["vpc"],
        vswitchId=ali_network["switch"],
        natType="Enhanced",
    )
    eip = alicloud.make(ALI_EIP, "nat", bandwidth="5")
    entry = {
        "snatTableId": alicloud.output(nat_type, nat, "snatTableIds"),
        "snatIp": alicloud.output(ALI_EIP, eip, "ipAddress"),
        "sourceVswitchId": ali_network["switch"],
    }
    with pytest.raises(RefusedError, match="snatIp: "):
        alicloud.make("alicloud:vpc/snatEntry:SnatEntry", "entry", **entry)

    alicloud.make(ALI_LINK, "nat", allocationId=eip, instanceId=nat)
    alicloud.make("alicloud:vpc/snatEntry:SnatEntry", "entry", **entry)


# IPv6

ALI_ADDRESS = "alicloud:vpc/ipv6Address:Ipv6Address"
ALI_GATEWAY = "alicloud:vpc/ipv6Gateway:Ipv6Gateway"
ALI_BANDWIDTH = "alicloud:vpc/ipv6InternetBandwidth:Ipv6InternetBandwidth"


@pytest.fixture
def ali_ipv6(alicloud: Region, ali_network: Known) -> Known:
    """A network with IPv6: a switch, an address in it that nobody has yet, a gateway."""
    vpc = alicloud.make(NETWORK, "six", cidrBlock="10.1.0.0/16", enableIpv6=True)
    switch = alicloud.make(SWITCH, "six", **ali_switch(vpc, "10.1.1.0/24", 1))
    address = alicloud.make(ALI_ADDRESS, "six", vswitchId=switch)
    return {
        **ali_network,
        "plain": ali_network["switch"],
        "plain vpc": ali_network["vpc"],
        "vpc": vpc,
        "switch": switch,
        "group": alicloud.make(ALI_GROUP, "six", vpcId=vpc),
        "address id": address,
        "address": alicloud.output(ALI_ADDRESS, address, "ipv6Address"),
        "gateway": alicloud.make(ALI_GATEWAY, "six", vpcId=vpc),
    }


def ali_switch(vpc: str, cidr: str, number: int) -> dict[str, Any]:
    six = {"enableIpv6": True, "ipv6CidrBlockMask": number}
    return {"vpcId": vpc, "cidrBlock": cidr, "zoneId": "cn-beijing-a", **six}


def ali_bandwidth(known: Known, **changes: Any) -> dict[str, Any]:
    ends = {"ipv6AddressId": known["address id"], "ipv6GatewayId": known["gateway"]}
    return {**ends, "bandwidth": 20, "internetChargeType": "PayByTraffic", **changes}


def test_a_reserved_address_goes_with_a_host_and_gets_bandwidth(
    alicloud: Region, ali_ipv6: Known
) -> None:
    alicloud.make(ALI_INSTANCE, "host", **ali_host(ali_ipv6, ipv6Addresses=[ali_ipv6["address"]]))
    alicloud.make(ALI_BANDWIDTH, "way", **ali_bandwidth(ali_ipv6))

    with pytest.raises(CloudError, match=r"DependencyViolation|is with"):
        alicloud.drop(ALI_ADDRESS, "six", ali_ipv6["address id"])


ALI_CASES6: list[Case] = [
    (
        "bandwidth of an address that nobody has",
        ALI_BANDWIDTH,
        lambda k: ali_bandwidth(k),
        "ipv6AddressId",
    ),
    (
        "a second gateway",
        ALI_GATEWAY,
        lambda k: {"vpcId": k["vpc"]},
        "vpcId",
    ),
    (
        "a gateway of a network without IPv6",
        ALI_GATEWAY,
        lambda k: {"vpcId": k["plain vpc"]},
        "vpcId",
    ),
    (
        "an address in a switch without IPv6",
        ALI_ADDRESS,
        lambda k: {"vswitchId": k["plain"]},
        "vswitchId",
    ),
    (
        "a part that another switch has",
        SWITCH,
        lambda k: ali_switch(k["vpc"], "10.1.2.0/24", 1),
        "ipv6CidrBlockMask",
    ),
    (
        "a part beyond the last",
        SWITCH,
        lambda k: ali_switch(k["vpc"], "10.1.2.0/24", 256),
        "ipv6CidrBlockMask",
    ),
    (
        "a part of a network without IPv6",
        SWITCH,
        lambda k: ali_switch(k["plain vpc"], "10.0.9.0/24", 1),
        "ipv6CidrBlockMask",
    ),
    (
        "an address of elsewhere",
        ALI_INSTANCE,
        lambda k: ali_host(k, ipv6Addresses=["2001:db8:ffff::10"]),
        "ipv6Addresses[0]",
    ),
    (
        "an address and a number of addresses",
        ALI_INSTANCE,
        lambda k: ali_host(k, ipv6Addresses=[k["address"]], ipv6AddressCount=1),
        "ipv6AddressCount",
    ),
]


@pytest.mark.parametrize(("why", "type", "inputs", "property"), ALI_CASES6, ids=case_ids)
def test_alicloud_refuses_of_ipv6(
    alicloud: Region,
    ali_ipv6: Known,
    why: str,
    type: str,
    inputs: Callable[[Known], dict[str, Any]],
    property: str,
) -> None:
    with pytest.raises(RefusedError) as refused:
        alicloud.make(type, "case", **inputs(ali_ipv6))

    assert refused.value.property == property, f"{why}: {refused.value}"
