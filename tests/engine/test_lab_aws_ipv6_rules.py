"""What the simulated AWS refuses of IPv6."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from tests.engine.lab_region import Known, RefusedError, Region
from tests.engine.test_lab_aws_rules import INSTANCE, SUBNET, VPC, aws, aws_host, aws_network

__all__ = ["aws", "aws_network"]  # fixtures


def range_of(aws: Region, known: Known, number: int) -> IPv6Network:
    """A /64 of the network's range."""
    whole = IPv6Network(aws.output(VPC, known["vpc"], "ipv6CidrBlock"))
    return list(whole.subnets(new_prefix=64))[number]


def test_each_network_gets_a_range_of_its_own(aws: Region, aws_network: Known) -> None:
    another = aws.make(VPC, "third", cidrBlock="10.1.0.0/16", assignGeneratedIpv6CidrBlock=True)

    ranges = [aws.output(VPC, id, "ipv6CidrBlock") for id in (aws_network["vpc"], another)]
    assert len({*ranges}) == 2
    assert aws.output(VPC, aws_network["other"], "ipv6CidrBlock") == ""


@pytest.mark.parametrize(
    ("why", "vpc", "wanted"),
    [
        ("a range of another network", "vpc", "2001:db8:ffff:1::/64"),
        ("a range that is no /64", "vpc", "2001:db8:100::/60"),
        ("a range of a network without one", "other", "2001:db8:100::/64"),
    ],
)
def test_a_subnet_has_only_a_part_of_its_network(
    aws: Region, aws_network: Known, why: str, vpc: str, wanted: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        aws.make(SUBNET, "b", vpcId=aws_network[vpc], cidrBlock="10.0.2.0/24", ipv6CidrBlock=wanted)

    assert refused.value.property == "ipv6CidrBlock", f"{why}: {refused.value}"


def test_two_subnets_do_not_share_a_range(aws: Region, aws_network: Known) -> None:
    taken = str(range_of(aws, aws_network, 1))
    vpc = aws_network["vpc"]
    aws.make(SUBNET, "b", vpcId=vpc, cidrBlock="10.0.2.0/24", ipv6CidrBlock=taken)

    with pytest.raises(RefusedError, match=r"ipv6CidrBlock: .* another subnet's"):
        aws.make(SUBNET, "c", vpcId=vpc, cidrBlock="10.0.3.0/24", ipv6CidrBlock=taken)


def test_a_host_has_only_free_addresses_of_its_subnet(aws: Region, aws_network: Known) -> None:
    part = range_of(aws, aws_network, 1)
    subnet = aws.make(
        SUBNET, "b", vpcId=aws_network["vpc"], cidrBlock="10.0.2.0/24", ipv6CidrBlock=str(part)
    )
    own = str(part[16])
    aws.make(INSTANCE, "one", **aws_host(aws_network, subnetId=subnet, ipv6Addresses=[own]))

    for wanted in (own, str(part[1]), "2001:db8:ffff::10"):
        with pytest.raises(RefusedError) as refused:
            aws.make(
                INSTANCE, "two", **aws_host(aws_network, subnetId=subnet, ipv6Addresses=[wanted])
            )
        assert refused.value.property == "ipv6Addresses[0]", str(refused.value)


def test_a_host_of_a_subnet_without_ipv6_gets_no_address(aws: Region, aws_network: Known) -> None:
    with pytest.raises(RefusedError, match=r"ipv6AddressCount: .* no IPv6 range"):
        aws.make(INSTANCE, "host", **aws_host(aws_network, ipv6AddressCount=1))
