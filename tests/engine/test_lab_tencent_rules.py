"""What the simulated Tencent Cloud refuses, each case with the property it names."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from lab.resource import CloudError
from tests.engine.lab_region import PUBLIC_KEY, Case, Known, RefusedError, Region, case_ids

TC_VPC, TC_SUBNET = "tencentcloud:Vpc/instance:Instance", "tencentcloud:Subnet/instance:Instance"
TC_GROUP = "tencentcloud:Security/group:Group"
TC_RULES = "tencentcloud:Security/groupRuleSet:GroupRuleSet"
TC_INSTANCE, TC_KEY = "tencentcloud:Instance/instance:Instance", "tencentcloud:Key/pair:Pair"
TC_RECORD, TC_BUCKET = "tencentcloud:Dnspod/record:Record", "tencentcloud:Cos/bucket:Bucket"


@pytest.fixture
def tencent(tmp_path: Path) -> Region:
    return Region("tencentcloud", "ap-shanghai", tmp_path)


@pytest.fixture
def tc_network(tencent: Region) -> Known:
    vpc = tencent.make(TC_VPC, "main", cidrBlock="10.0.0.0/16")
    found = tencent.handler.invoke(
        "tencentcloud:Images/getInstance:getInstance", {"osName": "debian 12"}
    )
    return {
        "vpc": vpc,
        "other": tencent.make(TC_VPC, "other", cidrBlock="10.0.0.0/16"),
        "subnet": tencent.make(
            TC_SUBNET,
            "two",
            vpcId=vpc,
            cidrBlock="10.0.1.0/24",
            availabilityZone="ap-shanghai-2",
        ),
        "group": tencent.make(TC_GROUP, "main"),
        "image": found["images"][0]["imageId"],
        "key": tencent.make(TC_KEY, "key", keyName="key", publicKey=PUBLIC_KEY),
    }


def tc_host(known: Known, **changes: Any) -> dict[str, Any]:
    settled = {
        "imageId": known["image"],
        "instanceType": "S5.MEDIUM2",
        "availabilityZone": "ap-shanghai-2",
        "vpcId": known["vpc"],
        "subnetId": known["subnet"],
        "orderlySecurityGroups": [known["group"]],
        "keyIds": [known["key"]],
    }
    return {key: value for key, value in {**settled, **changes}.items() if value is not None}


def tc_rule(known: Known, **changes: Any) -> dict[str, Any]:
    settled = {"action": "ACCEPT", "protocol": "TCP", "port": "22", "cidrBlock": "0.0.0.0/0"}
    return {"securityGroupId": known["group"], "ingresses": [{**settled, **changes}]}


def tc_record(**changes: Any) -> dict[str, Any]:
    settled = {"domain": "example.com", "subDomain": "www", "recordType": "A"}
    return {**settled, "recordLine": "默认", "value": "192.0.2.1", **changes}


TC_CASES: list[Case] = [
    (
        "a zone of another region",
        TC_SUBNET,
        lambda k: {
            "vpcId": k["vpc"],
            "cidrBlock": "10.0.2.0/24",
            "availabilityZone": "ap-beijing-2",
        },
        "availabilityZone",
    ),
    ("a rule that permits", TC_RULES, lambda k: tc_rule(k, action="allow"), "ingresses[0].action"),
    ("ports with a slash", TC_RULES, lambda k: tc_rule(k, port="1/9"), "ingresses[0].port"),
    (
        "ports of a protocol that has none",
        TC_RULES,
        lambda k: tc_rule(k, protocol="ICMP", port="1-9"),
        "ingresses[0].port",
    ),
    (
        "a rule without a source",
        TC_RULES,
        lambda k: tc_rule(k, cidrBlock=None),
        "ingresses[0].cidrBlock",
    ),
    (
        "a subnet of another network",
        TC_INSTANCE,
        lambda k: tc_host(k, vpcId=k["other"]),
        "vpcId",
    ),
    (
        "a subnet of another zone",
        TC_INSTANCE,
        lambda k: tc_host(k, availabilityZone="ap-shanghai-3"),
        "availabilityZone",
    ),
    ("an unknown image", TC_INSTANCE, lambda k: tc_host(k, imageId="img-0"), "imageId"),
    ("an unknown key", TC_INSTANCE, lambda k: tc_host(k, keyIds=["skey-0"]), "keyIds[0]"),
    (
        "plain user data where base64 is due",
        TC_INSTANCE,
        lambda k: tc_host(k, userData="#!/bin/sh"),
        "userData",
    ),
    (
        "user data twice",
        TC_INSTANCE,
        lambda k: tc_host(k, userData="eA==", userDataRaw="x"),
        "userDataRaw",
    ),
    (
        "an address the cloud keeps",
        TC_INSTANCE,
        lambda k: tc_host(k, privateIp="10.0.1.1"),
        "privateIp",
    ),
    (
        "a disk of another cloud",
        TC_INSTANCE,
        lambda k: tc_host(k, systemDiskType="gp3"),
        "systemDiskType",
    ),
    ("a key's name with a hyphen", TC_KEY, lambda _k: {"keyName": "my-key"}, "keyName"),
    ("a lifetime below the free edition's", TC_RECORD, lambda _k: tc_record(ttl=60), "ttl"),
    (
        "a line that does not exist",
        TC_RECORD,
        lambda _k: tc_record(recordLine="default"),
        "recordLine",
    ),
    ("a bucket without the account", TC_BUCKET, lambda _k: {"bucket": "lab"}, "bucket"),
]


@pytest.mark.parametrize(("why", "type", "inputs", "property"), TC_CASES, ids=case_ids)
def test_tencent_refuses(
    tencent: Region,
    tc_network: Known,
    why: str,
    type: str,
    inputs: Callable[[Known], dict[str, Any]],
    property: str,
) -> None:
    with pytest.raises(RefusedError) as refused:
        tencent.make(type, "case", **inputs(tc_network))

    assert refused.value.property == property, f"{why}: {refused.value}"


def test_tencent_keeps_a_key_that_a_host_uses(tencent: Region, tc_network: Known) -> None:
    tencent.make(TC_INSTANCE, "host", **tc_host(tc_network))

    with pytest.raises(CloudError, match="DependencyViolation"):
        tencent.drop(TC_KEY, "key", tc_network["key"])


# IPv6

TC_RANGE = "tencentcloud:Vpc/ipv6CidrBlock:Ipv6CidrBlock"
TC_PART = "tencentcloud:Vpc/ipv6SubnetCidrBlock:Ipv6SubnetCidrBlock"
TC_ADDRESS = "tencentcloud:Eni/ipv6Address:Ipv6Address"
TC_BANDWIDTH = "tencentcloud:Classic/elasticPublicIpv6:ElasticPublicIpv6"


@pytest.fixture
def tc_card(tencent: Region, tc_network: Known) -> Known:
    """The network with IPv6, and the interface of a host in it."""
    host = tencent.make(TC_INSTANCE, "host", **tc_host(tc_network))
    found = tencent.handler.invoke(
        "tencentcloud:Enis/getInstance:getInstance", {"instanceId": host}
    )
    (card,) = found["enis"]
    assert card["primary"] and card["instanceId"] == host
    whole = tencent.make(TC_RANGE, "main", vpcId=tc_network["vpc"])
    part = tencent.output(TC_RANGE, whole, "ipv6CidrBlock").replace("/56", "/64")
    tencent.make(TC_PART, "main", **tc_part(tc_network, part))
    return {**tc_network, "card": card["id"], "part": part}


def tc_part(known: Known, block: str, **changes: Any) -> dict[str, Any]:
    part = {"subnetId": known["subnet"], "ipv6CidrBlock": block}
    return {"vpcId": known["vpc"], "ipv6SubnetCidrBlocks": {**part, **changes}}


def test_an_address_of_the_subnet_is_taken_by_one_interface_and_opened(
    tencent: Region, tc_card: Known
) -> None:
    own = tc_card["part"].replace("/64", "10")
    given = {"networkInterfaceId": tc_card["card"], "ipv6Addresses": [{"address": own}]}
    address = tencent.make(TC_ADDRESS, "own", **given)
    tencent.make(TC_BANDWIDTH, "own", ip6Address=own, internetMaxBandwidthOut=20)

    with pytest.raises(CloudError, match="still has the bandwidth"):
        tencent.drop(TC_ADDRESS, "own", address)
    with pytest.raises(RefusedError, match="ip6Address"):
        tencent.make(TC_BANDWIDTH, "again", ip6Address=own)


@pytest.mark.parametrize(
    ("why", "place"), [("an address the cloud keeps", 1), ("an address beyond the subnet", 2**64)]
)
def test_an_interface_has_only_addresses_of_its_subnet(
    tencent: Region, tc_card: Known, why: str, place: int
) -> None:
    wanted = IPv6Network(tc_card["part"]).network_address + place

    with pytest.raises(RefusedError) as refused:
        tencent.make(
            TC_ADDRESS,
            "own",
            networkInterfaceId=tc_card["card"],
            ipv6Addresses=[{"address": str(wanted)}],
        )

    assert refused.value.property == "ipv6Addresses[0].address", f"{why}: {refused.value}"


TC_CASES6: list[Case] = [
    (
        "an interface that is not there",
        TC_ADDRESS,
        lambda k: {"networkInterfaceId": "eni-0", "ipv6AddressCount": 1},
        "networkInterfaceId",
    ),
    (
        "bandwidth of an address that nobody has",
        TC_BANDWIDTH,
        lambda k: {"ip6Address": k["part"].replace("/64", "99")},
        "ip6Address",
    ),
    (
        "a second range of a subnet",
        TC_PART,
        lambda k: tc_part(k, k["part"]),
        "ipv6SubnetCidrBlocks.subnetId",
    ),
    (
        "a range of a network without one",
        TC_PART,
        lambda k: {**tc_part(k, k["part"]), "vpcId": k["other"]},
        "ipv6SubnetCidrBlocks.subnetId",
    ),
]


@pytest.mark.parametrize(("why", "type", "inputs", "property"), TC_CASES6, ids=case_ids)
def test_tencent_refuses_of_ipv6(
    tencent: Region,
    tc_card: Known,
    why: str,
    type: str,
    inputs: Callable[[Known], dict[str, Any]],
    property: str,
) -> None:
    with pytest.raises(RefusedError) as refused:
        tencent.make(type, "case", **inputs(tc_card))

    assert refused.value.property == property, f"{why}: {refused.value}"


def test_an_address_goes_with_its_host_and_is_the_next_ones(
    tencent: Region, tc_card: Known
) -> None:
    own = tc_card["part"].replace("/64", "10")
    entries = [{"address": own}]
    old = tencent.make(TC_ADDRESS, "own", networkInterfaceId=tc_card["card"], ipv6Addresses=entries)
    tencent.make(TC_BANDWIDTH, "own", ip6Address=own)
    (host,) = tencent.store.all("tencentcloud", TC_INSTANCE)
    tencent.handler.lose(host)
    tencent.make(TC_INSTANCE, "next", **tc_host(tc_card))
    found = tencent.handler.invoke("tencentcloud:Enis/getInstance:getInstance", {})

    (card,) = found["enis"]
    tencent.make(TC_ADDRESS, "next", networkInterfaceId=card["id"], ipv6Addresses=entries)
    tencent.drop(TC_ADDRESS, "own", old)

    assert [r.id for r in tencent.store.all("tencentcloud", TC_ADDRESS)] == [card["id"]]
