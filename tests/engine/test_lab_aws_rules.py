"""What the simulated AWS refuses, each case with the property it names.

Each case starts from a small network that the cloud accepts and asks for one thing more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.resource import CloudError
from tests.engine.lab_region import Case, Known, RefusedError, Region, case_ids

VPC, SUBNET = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"
GROUP, INSTANCE = "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/instance:Instance"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EIP, ASSOCIATION = "aws:ec2/eip:Eip", "aws:ec2/eipAssociation:EipAssociation"
BUCKET, OBJECT = "aws:s3/bucket:Bucket", "aws:s3/bucketObjectv2:BucketObjectv2"
RECORD, ZONE = "aws:route53/record:Record", "aws:route53/zone:Zone"


@pytest.fixture
def aws(tmp_path: Path) -> Region:
    return Region("aws", "ap-east-1", tmp_path)


@pytest.fixture
def aws_network(aws: Region) -> Known:
    vpc = aws.make(VPC, "main", cidrBlock="10.0.0.0/16", assignGeneratedIpv6CidrBlock=True)
    other = aws.make(VPC, "other", cidrBlock="10.0.0.0/16")
    subnet = aws.make(
        SUBNET, "a", vpcId=vpc, cidrBlock="10.0.1.0/24", availabilityZone="ap-east-1a"
    )
    ami = aws.handler.invoke(
        "aws:ec2/getAmi:getAmi",
        {"owners": ["136693071363"], "nameRegex": "^debian-12", "mostRecent": True},
    )
    return {
        "vpc": vpc,
        "other": other,
        "subnet": subnet,
        "group": aws.make(GROUP, "main", vpcId=vpc),
        "foreign": aws.make(GROUP, "foreign", vpcId=other),
        "ami": ami["id"],
        "zone": aws.make(ZONE, "zone", name="example.com"),
        "bucket": aws.make(BUCKET, "bucket", bucket="lab-bucket"),
    }


def aws_host(known: Known, **changes: Any) -> dict[str, Any]:
    settled = {
        "ami": known["ami"],
        "instanceType": "t3.small",
        "subnetId": known["subnet"],
        "vpcSecurityGroupIds": [known["group"]],
    }
    return {key: value for key, value in {**settled, **changes}.items() if value is not None}


AWS_CASES: list[Case] = [
    ("no range", VPC, lambda _k: {}, "cidrBlock"),
    ("host bits", VPC, lambda _k: {"cidrBlock": "10.0.0.1/16"}, "cidrBlock"),
    ("a range too large", VPC, lambda _k: {"cidrBlock": "10.0.0.0/8"}, "cidrBlock"),
    ("a misspelt input", VPC, lambda _k: {"cidr": "10.0.0.0/16"}, "cidr"),
    (
        "text for a flag",
        VPC,
        lambda _k: {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": "yes"},
        "enableDnsSupport",
    ),
    (
        "a subnet outside its network",
        SUBNET,
        lambda k: {"vpcId": k["vpc"], "cidrBlock": "10.1.0.0/24"},
        "cidrBlock",
    ),
    (
        "overlapping subnets",
        SUBNET,
        lambda k: {"vpcId": k["vpc"], "cidrBlock": "10.0.0.0/20"},
        "cidrBlock",
    ),
    (
        "a network that does not exist",
        SUBNET,
        lambda _k: {"vpcId": "vpc-0", "cidrBlock": "10.0.2.0/24"},
        "vpcId",
    ),
    (
        "a zone of another region",
        SUBNET,
        lambda k: {
            "vpcId": k["vpc"],
            "cidrBlock": "10.0.2.0/24",
            "availabilityZone": "us-east-1a",
        },
        "availabilityZone",
    ),
    (
        "two firewalls of one name",
        GROUP,
        lambda k: {"vpcId": k["vpc"], "name": "main-7365656"},
        "name",
    ),
    (
        "ports upside down",
        GROUP,
        lambda k: {
            "vpcId": k["vpc"],
            "ingress": [
                {"protocol": "tcp", "fromPort": 90, "toPort": 80, "cidrBlocks": ["0.0.0.0/0"]}
            ],
        },
        "ingress[0].fromPort",
    ),
    (
        "a rule's bad range",
        GROUP,
        lambda k: {
            "vpcId": k["vpc"],
            "ingress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["any"]}],
        },
        "ingress[0].cidrBlocks[0]",
    ),
    (
        "a misspelt nested input",
        GROUP,
        lambda k: {"vpcId": k["vpc"], "ingress": [{"protocol": "tcp", "from_port": 1}]},
        "ingress[0].from_port",
    ),
    (
        "a rule without ports",
        RULE,
        lambda k: {
            "securityGroupId": k["group"],
            "ipProtocol": "tcp",
            "cidrIpv4": "0.0.0.0/0",
        },
        "fromPort",
    ),
    (
        "a rule with two sources",
        RULE,
        lambda k: {
            "securityGroupId": k["group"],
            "ipProtocol": "-1",
            "cidrIpv4": "0.0.0.0/0",
            "referencedSecurityGroupId": k["group"],
        },
        "referencedSecurityGroupId",
    ),
    (
        "a firewall of another network",
        INSTANCE,
        lambda k: aws_host(k, vpcSecurityGroupIds=[k["foreign"]]),
        "vpcSecurityGroupIds[0]",
    ),
    ("an image of another region", INSTANCE, lambda k: aws_host(k, ami="ami-0123"), "ami"),
    ("an unknown key pair", INSTANCE, lambda k: aws_host(k, keyName="nobody"), "keyName"),
    ("no subnet", INSTANCE, lambda k: aws_host(k, subnetId=None), "subnetId"),
    (
        "an address outside the subnet",
        INSTANCE,
        lambda k: aws_host(k, privateIp="10.0.2.10"),
        "privateIp",
    ),
    (
        "an address the cloud keeps",
        INSTANCE,
        lambda k: aws_host(k, privateIp="10.0.1.3"),
        "privateIp",
    ),
    (
        "user data over 16 KiB",
        INSTANCE,
        lambda k: aws_host(k, userData="x" * 16385),
        "userData",
    ),
    (
        "user data that is not base64",
        INSTANCE,
        lambda k: aws_host(k, userDataBase64="#!/bin/sh"),
        "userDataBase64",
    ),
    (
        "a zone that is not the subnet's",
        INSTANCE,
        lambda k: aws_host(k, availabilityZone="ap-east-1b"),
        "availabilityZone",
    ),
    (
        "a public key in another format",
        "aws:ec2/keyPair:KeyPair",
        lambda _k: {"publicKey": "-----BEGIN PUBLIC KEY-----"},
        "publicKey",
    ),
    (
        "a NAT gateway before any internet gateway",
        "aws:ec2/natGateway:NatGateway",
        lambda k: {"subnetId": k["subnet"], "allocationId": "eipalloc-0"},
        "allocationId",
    ),
    (
        "an address for a name",
        RECORD,
        lambda k: {
            "zoneId": k["zone"],
            "name": "www",
            "type": "A",
            "ttl": 60,
            "records": ["host.example.com"],
        },
        "records[0]",
    ),
    (
        "a record without a lifetime",
        RECORD,
        lambda k: {"zoneId": k["zone"], "name": "www", "type": "A", "records": ["192.0.2.1"]},
        "ttl",
    ),
    (
        "an alias at the top of a zone",
        RECORD,
        lambda k: {
            "zoneId": k["zone"],
            "name": "example.com",
            "type": "CNAME",
            "ttl": 60,
            "records": ["other.example.com"],
        },
        "type",
    ),
    ("a bucket's name in capitals", BUCKET, lambda _k: {"bucket": "Lab"}, "bucket"),
    ("a bucket's name twice", BUCKET, lambda _k: {"bucket": "lab-bucket"}, "bucket"),
    (
        "a public object in a closed bucket",
        OBJECT,
        lambda k: {"bucket": k["bucket"], "key": "x", "content": "x", "acl": "public-read"},
        "acl",
    ),
    (
        "a public policy on a closed bucket",
        "aws:s3/bucketPolicy:BucketPolicy",
        lambda k: {
            "bucket": k["bucket"],
            "policy": '{"Statement": [{"Effect": "Allow", "Principal": "*"}]}',
        },
        "policy",
    ),
    (
        "a type the SDK does not have",
        "aws:ec2/virtualMachine:VirtualMachine",
        lambda _k: {},
        "",
    ),
]


@pytest.mark.parametrize(("why", "type", "inputs", "property"), AWS_CASES, ids=case_ids)
def test_aws_refuses(
    aws: Region,
    aws_network: Known,
    why: str,
    type: str,
    inputs: Callable[[Known], dict[str, Any]],
    property: str,
) -> None:
    with pytest.raises(RefusedError) as refused:
        aws.make(type, "case", **inputs(aws_network))

    assert refused.value.property == property, f"{why}: {refused.value}"


def test_aws_gives_the_lowest_free_address_of_the_subnet(aws: Region, aws_network: Known) -> None:
    first = aws.make(INSTANCE, "one", **aws_host(aws_network))
    second = aws.make(INSTANCE, "two", **aws_host(aws_network, privateIp="10.0.1.5"))
    third = aws.make(INSTANCE, "three", **aws_host(aws_network))

    addresses = [aws.output(INSTANCE, id, "privateIp") for id in (first, second, third)]
    assert addresses == ["10.0.1.4", "10.0.1.5", "10.0.1.6"]


def test_aws_refuses_an_address_twice(aws: Region, aws_network: Known) -> None:
    aws.make(INSTANCE, "one", **aws_host(aws_network, privateIp="10.0.1.9"))

    with pytest.raises(RefusedError, match=r"privateIp: .*taken by .*'one'"):
        aws.make(INSTANCE, "two", **aws_host(aws_network, privateIp="10.0.1.9"))


def test_aws_attaches_addresses_only_behind_an_internet_gateway(
    aws: Region, aws_network: Known
) -> None:
    host = aws.make(INSTANCE, "host", **aws_host(aws_network))
    address = aws.make(EIP, "address", domain="vpc")
    with pytest.raises(RefusedError, match=r"instanceId: Gateway\.NotAttached"):
        aws.make(ASSOCIATION, "link", allocationId=address, instanceId=host)

    aws.make("aws:ec2/internetGateway:InternetGateway", "gate", vpcId=aws_network["vpc"])
    link = aws.make(ASSOCIATION, "link", allocationId=address, instanceId=host)

    assert aws.output(ASSOCIATION, link, "publicIp") == aws.output(EIP, address, "publicIp")


def test_a_resource_in_use_cannot_be_deleted_and_the_user_is_named(
    aws: Region, aws_network: Known
) -> None:
    host = aws.make(INSTANCE, "host", **aws_host(aws_network))

    with pytest.raises(CloudError, match=rf"DependencyViolation: .*'host' \({host}\)"):
        aws.drop(SUBNET, "a", aws_network["subnet"])
    with pytest.raises(CloudError, match="DependencyViolation"):
        aws.drop(GROUP, "main", aws_network["group"])
    with pytest.raises(CloudError, match="DependencyViolation"):
        aws.drop(VPC, "main", aws_network["vpc"])


def test_what_belongs_to_a_resource_goes_with_it(aws: Region, aws_network: Known) -> None:
    rule = aws.make(
        RULE,
        "ssh",
        securityGroupId=aws_network["foreign"],
        ipProtocol="tcp",
        fromPort=22,
        toPort=22,
        cidrIpv4="0.0.0.0/0",
    )

    aws.drop(GROUP, "foreign", aws_network["foreign"])

    assert aws.store.get("aws", RULE, rule) is None


def test_a_protected_host_is_not_deleted(aws: Region, aws_network: Known) -> None:
    host = aws.make(INSTANCE, "host", **aws_host(aws_network, disableApiTermination=True))

    with pytest.raises(CloudError, match="disableApiTermination"):
        aws.drop(INSTANCE, "host", host)


def test_a_bucket_with_objects_goes_only_by_force(aws: Region) -> None:
    kept = aws.make(BUCKET, "kept", bucket="kept-bucket")
    forced = aws.make(BUCKET, "forced", bucket="forced-bucket", forceDestroy=True)
    for bucket in (kept, forced):
        aws.make(OBJECT, f"in-{bucket}", bucket=bucket, key="x", content="x")

    with pytest.raises(CloudError, match="DependencyViolation"):
        aws.drop(BUCKET, "kept", kept)
    aws.drop(BUCKET, "forced", forced)

    assert [r.inputs["bucket"] for r in aws.store.all("aws", OBJECT)] == [kept]


def test_another_region_does_not_know_the_network(
    aws: Region, aws_network: Known, tmp_path: Path
) -> None:
    elsewhere = Region("aws", "us-east-1", tmp_path)

    with pytest.raises(RefusedError, match=r"vpcId: .* is in region ap-east-1"):
        elsewhere.make(SUBNET, "far", vpcId=aws_network["vpc"], cidrBlock="10.0.2.0/24")
