"""Resources of the clouds in the world's words: pure, without hosts or root.

Whether the world does what these words say is in test_world_network.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from lab.effects import alicloud, aws, tencentcloud
from lab.effects.view import View
from lab.resource import CloudError, Hidden, Resource
from lab.world import ruleset
from lab.world.model import Model, Network, Part, Rule


def res(type: str, id: str, /, **outputs: Any) -> Resource:
    """A resource whose inputs and outputs are the same."""
    return Resource(type.partition(":")[0], "somewhere", type, id, id, outputs, outputs)


def view(*resources: Resource, digests: Mapping[str, str] | None = None) -> View:
    """A cloud with these resources, its hosts named after their ids."""
    return View(resources, {found.id: found.id for found in resources}, digests or {})


# Alibaba Cloud

VPC = res("alicloud:vpc/network:Network", "vpc", cidrBlock="10.1.0.0/16")
SWITCH = res("alicloud:vpc/switch:Switch", "vsw", vpcId="vpc", cidrBlock="10.1.1.0/24")
NAT = res("alicloud:vpc/natGateway:NatGateway", "ngw", vpcId="vpc", snatTableIds="stb")
ALI_GROUP = "alicloud:ecs/securityGroup:SecurityGroup"
ALI_RULE = "alicloud:ecs/securityGroupRule:SecurityGroupRule"
ALI_HOST = res(
    "alicloud:ecs/instance:Instance",
    "i",
    vpcId="vpc",
    vswitchId="vsw",
    privateIp="10.1.1.4",
    securityGroups=["sg"],
)


def only(part: Part) -> Network:
    """The part's one network."""
    (network,) = part.networks
    return network


def test_alicloud_keeps_the_third_address_from_the_end_for_the_gateway() -> None:
    (subnet,) = only(alicloud.part(view(VPC, SWITCH))).subnets

    assert subnet.gateway == "10.1.1.253", "10.1.1.1 is the first that a host may get"


@pytest.mark.parametrize("source", [{"sourceVswitchId": "vsw"}, {"sourceCidr": "10.1.0.0/20"}])
def test_alicloud_hosts_leave_by_the_snat_entry_of_their_switch(source: dict[str, str]) -> None:
    entry = res(
        "alicloud:vpc/snatEntry:SnatEntry", "e", snatTableId="stb", snatIp="1.1.1.1", **source
    )

    (subnet,) = only(alicloud.part(view(VPC, SWITCH, NAT, entry))).subnets

    assert subnet.nat == "1.1.1.1"


def test_alicloud_basic_groups_let_everything_out_and_their_members_in() -> None:
    (group,) = only(alicloud.part(view(VPC, res(ALI_GROUP, "sg", vpcId="vpc")))).groups

    assert {(rule.direction, rule.peer) for rule in group.rules} == {
        ("out", "0.0.0.0/0"),
        ("out", "::/0"),
        ("in", "group:sg"),
    }


def test_alicloud_groups_with_inner_access_dropped_do_not() -> None:
    closed = res(ALI_GROUP, "sg", vpcId="vpc", innerAccessPolicy="Drop")

    (group,) = only(alicloud.part(view(VPC, closed))).groups

    assert {rule.direction for rule in group.rules} == {"out"}


def test_alicloud_rules_keep_ports_source_policy_and_priority() -> None:
    given = {"type": "ingress", "ipProtocol": "tcp", "portRange": "80/443", "policy": "drop"}
    rule = res(ALI_RULE, "r", securityGroupId="sg", cidrIp="10.0.0.0/8", priority=7, **given)

    (group,) = only(alicloud.part(view(VPC, res(ALI_GROUP, "sg", vpcId="vpc"), rule))).groups

    assert group.rules[0] == Rule(
        direction="in",
        protocol="tcp",
        ports=(80, 443),
        peer="10.0.0.0/8",
        allow=False,
        priority=7,
    )


def test_alicloud_hosts_bear_the_address_associated_with_them() -> None:
    eip = res("alicloud:ecs/eipAddress:EipAddress", "eip", ipAddress="198.18.2.1")
    link = res(
        "alicloud:ecs/eipAssociation:EipAssociation", "l", allocationId="eip", instanceId="i"
    )

    (place,) = only(alicloud.part(view(VPC, SWITCH, ALI_HOST, eip, link))).attachments

    assert place.public == "198.18.2.1"


def test_alicloud_user_data_is_decoded() -> None:
    data = base64.b64encode(b"#cloud-config\n").decode()
    host = res("alicloud:ecs/instance:Instance", "i", userData=data, hostName="hs-1")

    spec = alicloud.host(view(host), host)

    assert (spec.user_data, spec.hostname) == (b"#cloud-config\n", "hs-1")


def test_alicloud_data_disks_are_named_from_vdb_on() -> None:
    host = res("alicloud:ecs/instance:Instance", "i", dataDisks=[{"size": 20}, {"size": 40}])

    disks = alicloud.host(view(host), host).disks

    assert [(disk.device, disk.gigabytes) for disk in disks] == [("vdb", 20), ("vdc", 40)]


def test_a_secret_record_is_refused_because_it_is_not_kept() -> None:
    given = {"domainName": "example.com", "rr": "@", "type": "TXT", "ttl": 600}
    record = res("alicloud:dns/alidnsRecord:AlidnsRecord", "r", value=Hidden("x"), **given)

    with pytest.raises(CloudError, match="secret"):
        alicloud.part(view(record))


def test_an_access_block_closes_every_object_of_an_alicloud_bucket() -> None:
    ends = {
        "extranetEndpoint": "oss-x.aliyuncs.com",
        "intranetEndpoint": "oss-x-internal.aliyuncs.com",
    }
    bucket = res("alicloud:oss/bucket:Bucket", "b", acl="public-read", **ends)
    found = res(
        "alicloud:oss/bucketObject:BucketObject", "o", bucket="b", key="k", acl="public-read"
    )
    block = res(
        "alicloud:oss/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "b",
        bucket="b",
        blockPublicAccess=True,
    )

    (open_,) = alicloud.part(view(bucket, found, digests={"o": "d"})).buckets
    (closed,) = alicloud.part(view(bucket, found, block, digests={"o": "d"})).buckets

    assert [open_.objects[0].public, closed.objects[0].public] == [True, False]


# Tencent Cloud

TENCENT_VPC = res(
    "tencentcloud:Vpc/instance:Instance", "v", cidrBlock="10.2.0.0/16", defaultRouteTableId="rtb"
)
TENCENT_SUBNET = res(
    "tencentcloud:Subnet/instance:Instance", "s", vpcId="v", cidrBlock="10.2.1.0/24"
)
TENCENT_NAT = res("tencentcloud:Nat/gateway:Gateway", "nat", vpcId="v", assignedEipSets=["1.1.1.1"])


def route(table: str) -> Resource:
    """A default route to the NAT gateway."""
    given = {"destinationCidrBlock": "0.0.0.0/0", "nextType": "NAT", "nextHub": "nat"}
    return res("tencentcloud:Route/tableEntry:TableEntry", "e", routeTableId=table, **given)


def test_tencent_hosts_leave_by_the_nat_gateway_in_the_default_route_table() -> None:
    found = view(TENCENT_VPC, TENCENT_SUBNET, TENCENT_NAT, route("rtb"))

    (subnet,) = only(tencentcloud.part(found)).subnets

    assert subnet.nat == "1.1.1.1"


def test_tencent_subnets_with_a_route_table_of_their_own_ignore_the_default_one() -> None:
    link = res(
        "tencentcloud:Route/tableAssociation:TableAssociation",
        "s",
        subnetId="s",
        routeTableId="own",
    )
    found = view(TENCENT_VPC, TENCENT_SUBNET, TENCENT_NAT, route("rtb"), link)

    (subnet,) = only(tencentcloud.part(found)).subnets

    assert subnet.nat is None


def test_tencent_rules_are_taken_in_their_order() -> None:
    drop = {"action": "DROP", "protocol": "TCP", "port": "22", "cidrBlock": "10.0.0.0/8"}
    accept = {"action": "ACCEPT", "protocol": "TCP", "port": "22,80-90", "cidrBlock": "0.0.0.0/0"}
    rules = res(
        "tencentcloud:Security/groupRuleSet:GroupRuleSet",
        "g",
        securityGroupId="g",
        ingresses=[drop, accept],
    )
    group = res("tencentcloud:Security/group:Group", "g")

    (found,) = only(tencentcloud.part(view(TENCENT_VPC, group, rules))).groups

    assert [(rule.priority, rule.ports, rule.allow) for rule in found.rules] == [
        (0, (22, 22), False),
        (1, (22, 22), True),
        (1, (80, 90), True),
    ]


# AWS

AWS_VPC = res(
    "aws:ec2/vpc:Vpc",
    "v",
    cidrBlock="10.3.0.0/16",
    mainRouteTableId="main",
    defaultSecurityGroupId="sg-default",
)
AWS_SUBNET = res("aws:ec2/subnet:Subnet", "s", vpcId="v", cidrBlock="10.3.1.0/24")
GATEWAY = res("aws:ec2/internetGateway:InternetGateway", "igw", vpcId="v")


def aws_route(table: str, **target: str) -> Resource:
    """A default route."""
    given = {"destinationCidrBlock": "0.0.0.0/0", **target}
    return res("aws:ec2/route:Route", f"r-{table}", routeTableId=table, **given)


def test_aws_public_addresses_do_not_work_without_a_route_to_the_gateway() -> None:
    (subnet,) = only(aws.part(view(AWS_VPC, AWS_SUBNET, GATEWAY))).subnets

    assert not subnet.direct


def test_aws_public_addresses_work_with_a_route_to_the_gateway() -> None:
    found = view(AWS_VPC, AWS_SUBNET, GATEWAY, aws_route("main", gatewayId="igw"))

    (subnet,) = only(aws.part(found)).subnets

    assert subnet.direct


def test_aws_private_subnets_share_the_address_of_a_nat_gateway_in_a_public_one() -> None:
    inner = res("aws:ec2/subnet:Subnet", "p", vpcId="v", cidrBlock="10.3.2.0/24")
    eip = res("aws:ec2/eip:Eip", "eip", publicIp="1.1.1.1")
    nat = res("aws:ec2/natGateway:NatGateway", "nat", subnetId="s", allocationId="eip")
    table = res(
        "aws:ec2/routeTable:RouteTable",
        "inner",
        vpcId="v",
        routes=[{"cidrBlock": "0.0.0.0/0", "natGatewayId": "nat"}],
    )
    link = res(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "l",
        subnetId="p",
        routeTableId="inner",
    )
    out = aws_route("main", gatewayId="igw")

    found = aws.part(view(AWS_VPC, AWS_SUBNET, inner, GATEWAY, out, eip, nat, table, link))

    assert [(s.direct, s.nat) for s in only(found).subnets] == [(True, None), (False, "1.1.1.1")]


def test_aws_groups_join_inline_rules_and_rules_apart() -> None:
    inline = {"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["10.0.0.0/8"]}
    group = res("aws:ec2/securityGroup:SecurityGroup", "g", vpcId="v", ingress=[inline])
    apart = res(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "e",
        securityGroupId="g",
        ipProtocol="-1",
        cidrIpv4="0.0.0.0/0",
    )

    _, found = only(aws.part(view(AWS_VPC, group, apart))).groups

    assert found.rules == (
        Rule(direction="in", protocol="tcp", ports=(22, 22), peer="10.0.0.0/8"),
        Rule(direction="out"),
    )


@pytest.mark.parametrize(("restricted", "public"), [(False, True), (True, False)])
def test_an_aws_policy_opens_objects_unless_the_bucket_is_restricted(
    restricted: bool, public: bool
) -> None:
    domain = {"bucketRegionalDomainName": "b.s3.x.amazonaws.com", "bucketDomainName": "b"}
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": "arn:aws:s3:::b/pub/*",
    }
    resources = (
        res("aws:s3/bucket:Bucket", "b", **domain),
        res(
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            "b",
            bucket="b",
            restrictPublicBuckets=restricted,
        ),
        res(
            "aws:s3/bucketPolicy:BucketPolicy",
            "b",
            bucket="b",
            policy=json.dumps({"Statement": statement}),
        ),
        res("aws:s3/bucketObjectv2:BucketObjectv2", "o", bucket="b", key="pub/a"),
        res("aws:s3/bucketObjectv2:BucketObjectv2", "p", bucket="b", key="priv/a"),
    )

    (bucket,) = aws.part(view(*resources, digests={"o": "d", "p": "d"})).buckets

    assert {found.key: found.public for found in bucket.objects} == {
        "pub/a": public,
        "priv/a": False,
    }


def test_route_53_names_are_completed_by_their_zone() -> None:
    zone = res("aws:route53/zone:Zone", "Z", name="example.com")
    given = {"zoneId": "Z", "type": "TXT", "ttl": 60, "records": ['"a b"']}
    record = res("aws:route53/record:Record", "r", name="www", fqdn="www.example.com", **given)

    (found,) = aws.part(view(zone, record)).records

    assert (found.name, found.value, found.zone) == ("www.example.com", "a b", "example.com")


# Keys of the APIs


def test_alicloud_keys_have_the_policies_that_are_attached_to_their_user() -> None:
    resources = (
        res("alicloud:ram/accessKey:AccessKey", "k", userName="u", secret="s", status="Active"),
        res("alicloud:ram/policy:Policy", "p", policyDocument="{1}"),
        res("alicloud:ram/policy:Policy", "q", policyDocument="{2}"),
        res(
            "alicloud:ram/userPolicyAttachment:UserPolicyAttachment",
            "a",
            userName="u",
            policyName="p",
        ),
    )

    (key,) = alicloud.part(view(*resources)).access_keys

    assert (key.id, key.secret, key.policies, key.active) == ("k", "s", ("{1}",), True)


def test_tencent_keys_belong_to_the_user_of_their_number() -> None:
    resources = (
        res("tencentcloud:Cam/user:User", "u", uin=7),
        res(
            "tencentcloud:Cam/accessKey:AccessKey",
            "7#K",
            targetUin=7,
            accessKey="K",
            secretAccessKey="s",
            status="Inactive",
        ),
        res("tencentcloud:Cam/policy:Policy", "9", document="{1}"),
        res(
            "tencentcloud:Cam/userPolicyAttachment:UserPolicyAttachment",
            "a",
            userName="u",
            policyId="9",
        ),
    )

    (key,) = tencentcloud.part(view(*resources)).access_keys

    assert (key.id, key.user, key.policies, key.active) == ("K", "u", ("{1}",), False)


def test_aws_keys_have_their_users_own_policies() -> None:
    resources = (
        res("aws:iam/accessKey:AccessKey", "K", user="u", secret="s", status="Active"),
        res("aws:iam/userPolicy:UserPolicy", "u:p", user="u", policy="{1}"),
        res("aws:iam/userPolicy:UserPolicy", "v:p", user="v", policy="{2}"),
    )

    (key,) = aws.part(view(*resources)).access_keys

    assert (key.id, key.policies) == ("K", ("{1}",))


@pytest.mark.parametrize(
    ("cloud", "resource"),
    [
        (
            alicloud,
            res(
                "alicloud:dns/alidnsRecord:AlidnsRecord",
                "r",
                domainName="example.com",
                rr="hs",
                type="A",
                value="198.18.0.1",
                ttl=600,
            ),
        ),
        (
            tencentcloud,
            res(
                "tencentcloud:Dnspod/record:Record",
                "r",
                domain="example.com",
                subDomain="hs",
                recordType="A",
                value="198.18.0.1",
                ttl=600,
            ),
        ),
        (aws, res("aws:route53/zone:Zone", "Z", name="example.com.")),
    ],
)
def test_every_zone_has_the_number_that_its_service_gave_it(cloud: Any, resource: Resource) -> None:
    zones = cloud.part(view(resource)).zone_ids

    assert list(zones) == ["example.com"] and zones["example.com"]


# The router's rules


def test_a_router_without_hosts_lets_nothing_pass() -> None:
    empty = Network(id="n", cidrs=("10.0.0.0/16",))

    text = ruleset.router(empty, "198.19.0.1", Model({"me": Part(networks=(empty,))}))

    assert "policy drop" in text
    assert "vmap" not in text, "nft refuses an empty map"
