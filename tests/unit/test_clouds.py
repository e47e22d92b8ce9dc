"""What each of the three clouds is asked for, seen with Pulumi's mocks: the promises of the
interface are the same everywhere, so nearly every test runs once a cloud.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import clouds
from mesh import permissions, topology
from mesh.catalogue import OFFERS, Cloud
from mesh.settings import Size
from tests.unit.recorder import Recorder, run

CLOUDS: tuple[Cloud, ...] = ("alicloud", "tencentcloud", "aws")
INSTANCE = {
    "alicloud": "alicloud:ecs/instance:Instance",
    "tencentcloud": "tencentcloud:Instance/instance:Instance",
    "aws": "aws:ec2/instance:Instance",
}
ZONE = {"alicloud": "cn-beijing-h", "tencentcloud": "ap-shanghai-2", "aws": "ap-east-1a"}
RULES = (
    topology.Rule(
        protocol="tcp",
        first_port=22,
        last_port=22,
        sources=(IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.0/24")),
        why="operators' SSH",
    ),
    topology.Rule(
        protocol="icmp", first_port=0, last_port=0, sources=(topology.EVERYWHERE,), why="ping"
    ),
    topology.Rule(
        protocol="udp", first_port=3478, last_port=3478, sources=(topology.EVERYWHERE,), why="STUN"
    ),
)
WANTED = {
    ("tcp", "22", "192.0.2.0/24"),
    ("tcp", "22", "198.51.100.0/24"),
    ("icmp", "", "0.0.0.0/0"),
    ("udp", "3478", "0.0.0.0/0"),
}


@pytest.fixture
def recorder() -> Recorder:
    made = Recorder()
    made.listen(project="trial", stack="dev")
    return made


def host(cloud: Cloud, **changes: Any) -> topology.Host:
    made = topology.Host(
        name="pg-1",
        role="database",
        network="home",
        subnet="private-1",
        cloud=cloud,
        region=ZONE[cloud][:-2],
        zone=ZONE[cloud],
        address=IPv4Address("10.0.6.10"),
        public=False,
        instance_type=OFFERS[cloud].instance_types[2, 4],
        size=Size(cpus=2, memory_gib=4, disk_gib=50, data_gib=100),
        bandwidth_mbps=20,
        voter=True,
        stateful=True,
        rules=RULES,
    )
    return replace(made, **changes)


def make_instance(cloud: Cloud, recorder: Recorder, protect: bool = True) -> dict[str, Any]:
    """The inputs of a database host's instance."""
    args = clouds.InstanceArgs(
        environment="prod",
        network_id="net",
        subnet_id="sub",
        firewall_id="fw",
        key_pair="key",
        user_data="#!/bin/sh",
        os="debian-12",
        protect=protect,
    )
    run(lambda: clouds.of(cloud).instance("pg-1", host(cloud), args, pulumi.ResourceOptions()))
    return recorder.one(INSTANCE[cloud])


def network(cloud: Cloud) -> topology.Network:
    subnets = tuple(
        topology.Subnet(name=name, zone=ZONE[cloud], cidr=IPv4Network(cidr), public=public)
        for name, cidr, public in (
            ("public-1", "10.0.0.0/24", True),
            ("private-1", "10.0.6.0/24", False),
        )
    )
    return topology.Network(
        name="home",
        cloud=cloud,
        region=ZONE[cloud][:-2],
        cidr=IPv4Network("10.0.0.0/20"),
        subnets=subnets,
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_data_disk_is_encrypted(cloud: Cloud, recorder: Recorder) -> None:
    inputs = make_instance(cloud, recorder)
    (disk,) = inputs.get("dataDisks") or inputs["ebsBlockDevices"]
    assert disk.get("encrypted") or disk.get("encrypt")
    assert 100 in disk.values()


@pytest.mark.parametrize("cloud", ["alicloud", "aws"])  # the third's provider cannot
def test_the_system_disk_is_encrypted(cloud: Cloud, recorder: Recorder) -> None:
    inputs = make_instance(cloud, recorder)
    root = inputs.get("rootBlockDevice", {})
    assert inputs.get("systemDiskEncrypted") or root.get("encrypted")


@pytest.mark.parametrize("cloud", ["alicloud", "aws"])  # the third's provider cannot
def test_the_metadata_service_wants_a_token(cloud: Cloud, recorder: Recorder) -> None:
    inputs = make_instance(cloud, recorder)
    metadata = inputs.get("metadataOptions") or inputs
    assert metadata["httpTokens"] == "required"
    assert metadata["httpEndpoint"] == "enabled"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_instance_has_no_public_address_of_its_own(cloud: Cloud, recorder: Recorder) -> None:
    inputs = make_instance(cloud, recorder)
    refused = {
        "alicloud": ("internetMaxBandwidthOut", 0),
        "tencentcloud": ("allocatePublicIp", False),
        "aws": ("associatePublicIpAddress", False),
    }
    key, value = refused[cloud]
    assert inputs[key] == value
    assert not recorder.of("eip")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_instance_has_the_address_and_tags_of_its_host(cloud: Cloud, recorder: Recorder) -> None:
    inputs = make_instance(cloud, recorder)
    assert inputs["privateIp"] == "10.0.6.10"
    assert inputs["tags"] == {"Name": "prod-pg-1", "role": "database", "environment": "prod"}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("protect", [True, False])
def test_a_stateful_host_refuses_deletion_where_the_stack_protects(
    cloud: Cloud, protect: bool, recorder: Recorder
) -> None:
    inputs = make_instance(cloud, recorder, protect)
    found = [inputs.get("deletionProtection"), inputs.get("disableApiTermination")]
    assert [value for value in found if value is not None] == [protect]


def ingress(cloud: Cloud, recorder: Recorder) -> set[tuple[str, str, str]]:
    """The ingress rules as (protocol, port, source)."""
    if cloud == "tencentcloud":
        (rules,) = recorder.of("groupRuleSet")
        return {
            (rule["protocol"].lower(), rule["port"].replace("ALL", ""), source_of(rule))
            for rule in rules["ingresses"]
        }
    if cloud == "alicloud":
        return {
            (
                rule["ipProtocol"],
                rule["portRange"].replace("-1/-1", "").split("/")[0],
                source_of(rule),
            )
            for rule in recorder.of("securityGroupRule")
        }
    return {
        (rule["ipProtocol"], _port(rule), source_of(rule))
        for rule in recorder.of("securityGroupIngressRule")
    }


def source_of(rule: Mapping[str, Any]) -> str:
    names = ("cidrIp", "ipv6CidrIp", "cidrBlock", "ipv6CidrBlock", "cidrIpv4", "cidrIpv6")
    (found,) = [rule[name] for name in names if rule.get(name)]
    return str(found)


def _port(rule: Mapping[str, Any]) -> str:
    assert rule["fromPort"] == rule["toPort"]
    return "" if rule["fromPort"] == -1 else str(int(rule["fromPort"]))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_firewall_lets_in_exactly_the_rules(cloud: Cloud, recorder: Recorder) -> None:
    run(lambda: clouds.of(cloud).firewall("hs-1", "prod", "net", RULES, pulumi.ResourceOptions()))
    assert ingress(cloud, recorder) == WANTED


def test_members_of_an_alicloud_group_do_not_reach_each_other(recorder: Recorder) -> None:
    run(lambda: clouds.of("alicloud").firewall("a", "prod", "n", (), pulumi.ResourceOptions()))
    assert recorder.one("alicloud:ecs/securityGroup:SecurityGroup")["innerAccessPolicy"] == "Drop"


def test_aws_gets_only_characters_that_it_takes_in_descriptions(recorder: Recorder) -> None:
    run(lambda: clouds.of("aws").firewall("hs-1", "prod", "n", RULES, pulumi.ResourceOptions()))
    said = {rule["description"] for rule in recorder.of("IngressRule")}
    assert said == {"operators SSH", "ping", "STUN"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_private_subnet_has_one_nat_gateway_with_one_address(
    cloud: Cloud, recorder: Recorder
) -> None:
    run(lambda: clouds.of(cloud).network("home", "prod", network(cloud), pulumi.ResourceOptions()))
    assert len(recorder.of("natGateway") + recorder.of("Nat/gateway")) == 1
    assert (
        len(recorder.of("eip:Eip") + recorder.of("Eip/instance") + recorder.of("eipAddress")) == 1
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_network_of_public_subnets_needs_no_nat_gateway(cloud: Cloud, recorder: Recorder) -> None:
    spec = replace(network(cloud), subnets=network(cloud).subnets[:1])
    run(lambda: clouds.of(cloud).network("derp-bj", "prod", spec, pulumi.ResourceOptions()))
    assert not recorder.of("nat")
    assert not recorder.of("eip")


def zone(cloud: Cloud, *, create: bool = False) -> clouds.Zone:
    """The zone ops.example.com, made or found."""
    return clouds.of(cloud).zone("zone", "ops.example.com", create, pulumi.ResourceOptions())


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("create", [True, False])
def test_a_zone_is_made_only_when_asked(cloud: Cloud, create: bool, recorder: Recorder) -> None:
    recorder.answers = lambda name: {"domainId": 77, "zoneId": "Z1"}
    run(lambda: zone(cloud, create=create).id)
    made = [*recorder.of("zone:Zone"), *recorder.of("omain:"), *recorder.of("domainInstance:")]
    assert len(made) == create


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_name_has_every_address(cloud: Cloud, recorder: Recorder) -> None:
    addresses = ["203.0.113.1", "203.0.113.2"]
    run(
        lambda: clouds.of(cloud).record(
            "hs", zone(cloud), "hs", "A", addresses, 600, pulumi.ResourceOptions()
        )
    )
    records = recorder.of("record")
    found = [value for each in records for value in (each.get("records") or [each["value"]])]
    assert sorted(found) == addresses
    assert all(each["ttl"] == 600 for each in records)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_bucket_gives_its_objects_to_everyone_and_its_list_to_no_one(
    cloud: Cloud, recorder: Recorder, tmp_path: Path
) -> None:
    program = tmp_path / "derper"
    program.write_text("x")
    run(
        lambda: clouds.of(cloud).bucket(
            "store", "unique", "region-1", {"0f/derper": program}, pulumi.ResourceOptions()
        )
    )
    (item,) = recorder.of("bucketObject")
    assert item["key"] == "0f/derper"
    if cloud == "aws":
        (policy,) = recorder.of("bucketPolicy")
        assert '"s3:GetObject"' in policy["policy"]
        assert "ListBucket" not in policy["policy"]
    else:
        (bucket,) = recorder.of("bucket:Bucket")
        assert bucket.get("acl", "private") == "private"
        assert item["acl"] == "public-read"


CREDENTIAL: dict[Cloud, dict[str, str]] = {
    "alicloud": {"ALICLOUD_ACCESS_KEY": "acme-id", "ALICLOUD_SECRET_KEY": "drawn"},
    "tencentcloud": {"TENCENTCLOUD_SECRET_ID": "AKID1", "TENCENTCLOUD_SECRET_KEY": "drawn"},
    "aws": {
        "AWS_ACCESS_KEY_ID": "acme-id",
        "AWS_SECRET_ACCESS_KEY": "drawn",
        "AWS_HOSTED_ZONE_ID": "Z1",
        "AWS_REGION": "us-east-1",
    },
}


def make_credential(cloud: Cloud, recorder: Recorder) -> tuple[dict[str, str], bool]:
    """The credential's variables, and whether they are secret."""
    drawn = {"secret": "drawn", "accessKey": "AKID1", "secretAccessKey": "drawn", "uin": 7}
    recorder.answers = lambda name: drawn
    seen: list[tuple[dict[str, str], bool]] = []

    async def is_secret(value: pulumi.Output[Any]) -> bool:
        return await value.is_secret()

    def program() -> pulumi.Output[None]:
        made = clouds.of(cloud).dns_credential(
            "acme", "prod", zone(cloud), pulumi.ResourceOptions()
        )
        secret: pulumi.Output[bool] = pulumi.Output.from_input(is_secret(made))
        return pulumi.Output.all(made, secret).apply(lambda found: seen.append((*found,)))

    run(program)
    (found,) = seen
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_dns_credential_is_what_lego_reads_and_secret(cloud: Cloud, recorder: Recorder) -> None:
    assert make_credential(cloud, recorder) == (CREDENTIAL[cloud], True)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_dns_credential_has_a_user_of_its_own_for_the_one_zone(
    cloud: Cloud, recorder: Recorder
) -> None:
    make_credential(cloud, recorder)

    (user,) = recorder.of("user:User")
    assert user["name"] == "prod-acme"
    assert not user.get("consoleLogin") and not user.get("useApi")
    (policy,) = recorder.of("policy:Policy") + recorder.of("userPolicy:UserPolicy")
    document = policy.get("policyDocument") or policy.get("document") or policy["policy"]
    zone = {
        "alicloud": permissions.alidns("ops.example.com"),
        "tencentcloud": permissions.dnspod("100000000001", "77"),
        "aws": permissions.route53("Z1"),
    }
    assert document == zone[cloud]


def test_only_the_cloud_in_use_is_imported() -> None:
    script = (
        "import sys; from components import clouds; clouds.of('tencentcloud');"
        "print('pulumi_aws' in sys.modules, 'pulumi_alicloud' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("cloud", "services"),
    [("alicloud", ["vpc", "ecs"]), ("tencentcloud", ["instance"]), ("aws", ["ec2"])],
)
def test_a_preview_runs_no_whole_service_package(
    cloud: Cloud, services: list[str], recorder: Recorder
) -> None:
    make_instance(cloud, recorder)
    sdk = getattr(clouds.of(cloud), cloud)
    assert {type(getattr(sdk, name)).__name__ for name in services} == {"_Package"}


@pytest.mark.parametrize(
    ("cloud", "services"),
    [("alicloud", ["ram"]), ("tencentcloud", ["cam", "dnspod"]), ("aws", ["iam", "route53"])],
)
def test_a_dns_credential_runs_no_whole_service_package(
    cloud: Cloud, services: list[str], recorder: Recorder
) -> None:
    make_credential(cloud, recorder)
    sdk = getattr(clouds.of(cloud), cloud)
    assert {type(getattr(sdk, name)).__name__ for name in services} == {"_Package"}
