"""The words of the Tencent Cloud tables: type tokens, regions and zones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from lab.clouds import network
from lab.resource import Resource
from lab.store import Store

# Region → how many zones, numbered from 1.
_ZONE_COUNTS: Final = {
    "ap-bangkok": 2,
    "ap-beijing": 8,
    "ap-chengdu": 2,
    "ap-chongqing": 1,
    "ap-guangzhou": 7,
    "ap-hongkong": 3,
    "ap-jakarta": 2,
    "ap-nanjing": 3,
    "ap-seoul": 2,
    "ap-shanghai": 8,
    "ap-singapore": 4,
    "ap-tokyo": 2,
    "eu-frankfurt": 2,
    "na-ashburn": 2,
    "na-siliconvalley": 2,
    "sa-saopaulo": 1,
}
ZONES: Final = {
    region: tuple(f"{region}-{number}" for number in range(1, count + 1))
    for region, count in _ZONE_COUNTS.items()
}
# From 198.18.0.0/15 (RFC 2544), so that no lab address is anyone's.
FIRST_PUBLIC: Final = "198.18.3.1"
FIRST_IPV6: Final = "2001:db8:300::/56"  # RFC 3849: nobody's either
RESERVED: Final = network.ends(2, 1)  # network, gateway; broadcast

VPC: Final = "tencentcloud:Vpc/instance:Instance"
SUBNET: Final = "tencentcloud:Subnet/instance:Instance"
NAT: Final = "tencentcloud:Nat/gateway:Gateway"
ROUTE_TABLE: Final = "tencentcloud:Route/table:Table"
IPV6_RANGE: Final = "tencentcloud:Vpc/ipv6CidrBlock:Ipv6CidrBlock"
IPV6_SUBNET: Final = "tencentcloud:Vpc/ipv6SubnetCidrBlock:Ipv6SubnetCidrBlock"
IPV6_ADDRESS: Final = "tencentcloud:Eni/ipv6Address:Ipv6Address"
IPV6_BANDWIDTH: Final = "tencentcloud:Classic/elasticPublicIpv6:ElasticPublicIpv6"
EIP: Final = "tencentcloud:Eip/instance:Instance"
ASSOCIATION: Final = "tencentcloud:Eip/association:Association"
GROUP: Final = "tencentcloud:Security/group:Group"
RULE_SET: Final = "tencentcloud:Security/groupRuleSet:GroupRuleSet"
KEY_PAIR: Final = "tencentcloud:Key/pair:Pair"
INSTANCE: Final = "tencentcloud:Instance/instance:Instance"
DISK: Final = "tencentcloud:Cbs/storage:Storage"
RECORD: Final = "tencentcloud:Dnspod/record:Record"
USER: Final = "tencentcloud:Cam/user:User"
POLICY: Final = "tencentcloud:Cam/policy:Policy"
POLICY_ATTACHMENT: Final = "tencentcloud:Cam/userPolicyAttachment:UserPolicyAttachment"
ACCESS_KEY: Final = "tencentcloud:Cam/accessKey:AccessKey"
BUCKET: Final = "tencentcloud:Cos/bucket:Bucket"
ROUTE_TABLES: Final = (ROUTE_TABLE, f"{VPC}#defaultRouteTableId")
ACCOUNT: Final = "100000000001"  # its "uin"


def get_zones(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """availability.getZonesByProduct: every zone of the region sells every product."""
    zones = [
        {"id": zone, "name": zone, "description": zone, "state": "AVAILABLE"}
        for zone in ZONES[region]
    ]
    return {"id": region, "zones": zones}


def interface(instance: str) -> str:
    """The network interface that an instance is born with."""
    return f"eni-{instance.removeprefix('ins-')}"


def get_interfaces(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """enis.getInstance: the interfaces of one instance, or of all in the region."""
    wanted = args.get("instanceId")
    found = [
        _interface(instance)
        for instance in store.all("tencentcloud", INSTANCE)
        if instance.region == region and wanted in (None, instance.id)
    ]
    return {"id": f"enis-{wanted}", "enis": found}


def _interface(instance: Resource) -> Mapping[str, Any]:
    given, words = instance.outputs, {"name": "Primary", "description": "", "mac": "", "cdcId": ""}
    return {
        **words,
        "id": interface(instance.id),
        "instanceId": instance.id,
        "vpcId": given["vpcId"],
        "subnetId": given["subnetId"],
        "primary": True,
        "state": "AVAILABLE",
        "securityGroups": list(given.get("orderlySecurityGroups") or ()),
        "ipv4s": [{"ip": given["privateIp"], "primary": True, "description": ""}],
        "ipv6s": [],
        "createTime": "2026-01-01 00:00:00",
        "tags": {},
    }


def get_info(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """user.getInfo: the lab's one account. Its appId ends every bucket's name."""
    identity = {"id": ACCOUNT, "uin": ACCOUNT, "ownerUin": ACCOUNT}
    return {**identity, "appId": "1250000000", "name": "lab"}


def domain_id(name: str) -> int:
    """The number of a domain at DNSPod. The lab's account has every domain that is asked for."""
    return 10**7 + int(hashlib.sha256(name.encode()).hexdigest()[:7], 16)


def get_domains(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """dnspod.getDomainList: the domain that is searched for, or else those that have records."""
    keyword = args.get("keyword")
    held = {str(found.inputs["domain"]) for found in store.all("tencentcloud", RECORD)}
    domains = [keyword] if keyword else sorted(held)
    return {"id": "domains", "domainLists": [_domain(name) for name in domains]}


def _domain(name: str) -> Mapping[str, Any]:
    words = {"status": "ENABLE", "dnsStatus": "", "grade": "DP_FREE", "owner": "lab", "remark": ""}
    return {**words, "domainId": domain_id(name), "name": name, "punycode": name, "ttl": 600}
