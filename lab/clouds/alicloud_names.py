"""The words of the Alibaba Cloud tables: type tokens, regions and zones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from lab.clouds import network
from lab.store import Store

ZONES: Final = {
    # "cn-beijing-a", but "us-east-1a"
    region: tuple(f"{region}{'-' if region.startswith('cn') else ''}{z}" for z in letters)
    for region, letters in {
        "cn-beijing": "abcdefghijkl",
        "cn-chengdu": "ab",
        "cn-guangzhou": "ab",
        "cn-hangzhou": "bcdefghijk",
        "cn-heyuan": "ab",
        "cn-hongkong": "bcd",
        "cn-huhehaote": "ab",
        "cn-nanjing": "a",
        "cn-qingdao": "bc",
        "cn-shanghai": "abcdefglmn",
        "cn-shenzhen": "abcdef",
        "cn-wulanchabu": "abc",
        "cn-zhangjiakou": "abc",
        "ap-northeast-1": "abc",
        "ap-northeast-2": "ab",
        "ap-southeast-1": "abc",
        "ap-southeast-3": "ab",
        "ap-southeast-5": "abc",
        "ap-southeast-6": "a",
        "ap-southeast-7": "a",
        "eu-central-1": "abc",
        "eu-west-1": "ab",
        "me-east-1": "a",
        "us-east-1": "ab",
        "us-west-1": "ab",
    }.items()
}
# From 198.18.0.0/15 (RFC 2544), so that no lab address is anyone's.
FIRST_PUBLIC: Final = "198.18.2.1"
FIRST_IPV6: Final = "2001:db8:200::/56"  # RFC 3849: nobody's either
RESERVED: Final = network.ends(1, 3)  # network; two kept by the cloud, broadcast

VPC: Final = "alicloud:vpc/network:Network"
SWITCH: Final = "alicloud:vpc/switch:Switch"
NAT: Final = "alicloud:vpc/natGateway:NatGateway"
SNAT: Final = "alicloud:vpc/snatEntry:SnatEntry"
IPV6_ADDRESS: Final = "alicloud:vpc/ipv6Address:Ipv6Address"
IPV6_GATEWAY: Final = "alicloud:vpc/ipv6Gateway:Ipv6Gateway"
IPV6_BANDWIDTH: Final = "alicloud:vpc/ipv6InternetBandwidth:Ipv6InternetBandwidth"
EIP: Final = "alicloud:ecs/eipAddress:EipAddress"
ASSOCIATION: Final = "alicloud:ecs/eipAssociation:EipAssociation"
GROUP: Final = "alicloud:ecs/securityGroup:SecurityGroup"
RULE: Final = "alicloud:ecs/securityGroupRule:SecurityGroupRule"
KEY_PAIR: Final = "alicloud:ecs/ecsKeyPair:EcsKeyPair"
INSTANCE: Final = "alicloud:ecs/instance:Instance"
DISK: Final = "alicloud:ecs/ecsDisk:EcsDisk"
RECORD: Final = "alicloud:dns/alidnsRecord:AlidnsRecord"
USER: Final = "alicloud:ram/user:User"
POLICY: Final = "alicloud:ram/policy:Policy"
POLICY_ATTACHMENT: Final = "alicloud:ram/userPolicyAttachment:UserPolicyAttachment"
ACCESS_KEY: Final = "alicloud:ram/accessKey:AccessKey"
BUCKET: Final = "alicloud:oss/bucket:Bucket"
BLOCK: Final = "alicloud:oss/bucketPublicAccessBlock:BucketPublicAccessBlock"


def domain_id(name: str) -> str:
    """The id of a domain at Alidns. The lab's account has every domain that is asked for."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def get_zones(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """getZones: every zone of the region."""
    zones = list(ZONES[region])
    return {"id": region, "ids": zones, "zones": [{"id": z, "localName": z} for z in zones]}
