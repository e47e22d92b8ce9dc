"""What the three clouds offer: regions, zones, instance types, devices.

Sources: the clouds' own lists of regions and instance families. A region or a size that is
missing here is one line to add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Cloud = Literal["alicloud", "tencentcloud", "aws"]
DnsProvider = Literal["alidns", "dnspod", "route53"]
OperatingSystem = Literal["debian-12", "ubuntu-22.04"]

CLOUD_OF_DNS: Final[dict[DnsProvider, Cloud]] = {
    "alidns": "alicloud",
    "dnspod": "tencentcloud",
    "route53": "aws",
}
# What lego, the ACME client on hosts, calls each service.
LEGO_PROVIDERS: Final[dict[DnsProvider, str]] = {
    "alidns": "alidns",
    "dnspod": "tencentcloud",  # lego's own "dnspod" speaks the API that DNSPod has retired
    "route53": "route53",
}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one cloud offers.

    `zones` maps a region to its zones in full. `instance_types` maps (vCPU, GiB of memory) to
    the type used for it. `data_device` is where the first data disk appears in the guest.
    `reserved_first` and `reserved_last` count the addresses of a subnet the cloud keeps.
    `caps_bandwidth` is whether a public address is given with a bandwidth; if not, the host keeps
    to its own. `early_ipv6` is whether a relay's network has an IPv6 range from the beginning: it
    costs nothing, and could not be given back while the subnet has a part of it.
    """

    zones: dict[str, tuple[str, ...]]
    instance_types: dict[tuple[int, int], str]
    data_device: str
    reserved_first: int
    reserved_last: int
    caps_bandwidth: bool = True
    early_ipv6: bool = False


def _zones(pattern: str, regions: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {
        region: tuple(pattern.format(region=region, zone=zone) for zone in zones)
        for region, zones in regions.items()
    }


OFFERS: Final[dict[Cloud, Offer]] = {
    "alicloud": Offer(
        zones=_zones(
            "{region}-{zone}",
            {
                "cn-beijing": "abcdefghijkl",
                "cn-hangzhou": "bcdefghijk",
                "cn-hongkong": "bcd",
                "cn-shanghai": "abcdefglmn",
                "cn-shenzhen": "abcdef",
                "cn-zhangjiakou": "abc",
            },
        )
        | _zones(
            "{region}{zone}",
            {"ap-northeast-1": "abc", "ap-southeast-1": "abc", "eu-central-1": "abc"},
        ),
        instance_types={
            (1, 1): "ecs.t6-c1m1.large",
            (2, 4): "ecs.c7.large",
            (2, 8): "ecs.g7.large",
            (4, 8): "ecs.c7.xlarge",
            (4, 16): "ecs.g7.xlarge",
            (8, 16): "ecs.c7.2xlarge",
            (8, 32): "ecs.g7.2xlarge",
        },
        data_device="/dev/vdb",
        reserved_first=1,
        reserved_last=3,
    ),
    "tencentcloud": Offer(
        zones=_zones(
            "{region}-{zone}",
            {
                "ap-beijing": "12345678",
                "ap-guangzhou": "1234567",
                "ap-hongkong": "123",
                "ap-shanghai": "12345678",
                "ap-singapore": "1234",
                "ap-tokyo": "12",
                "eu-frankfurt": "12",
            },
        ),
        instance_types={
            (1, 1): "S5.SMALL1",
            (2, 4): "S5.MEDIUM4",
            (2, 8): "S5.MEDIUM8",
            (4, 8): "S5.LARGE8",
            (4, 16): "S5.LARGE16",
            (8, 16): "S5.2XLARGE16",
            (8, 32): "S5.2XLARGE32",
        },
        data_device="/dev/vdb",
        reserved_first=2,
        reserved_last=1,
    ),
    "aws": Offer(
        zones=_zones(
            "{region}{zone}",
            {
                "ap-east-1": "abc",
                "ap-northeast-1": "acd",
                "ap-southeast-1": "abc",
                "eu-central-1": "abc",
                "eu-west-1": "abc",
                "us-east-1": "abcdef",
                "us-west-2": "abcd",
            },
        ),
        instance_types={
            (1, 1): "t3.micro",
            (2, 4): "t3.medium",
            (2, 8): "m6i.large",
            (4, 8): "c6i.xlarge",
            (4, 16): "m6i.xlarge",
            (8, 16): "c6i.2xlarge",
            (8, 32): "m6i.2xlarge",
        },
        data_device="/dev/nvme1n1",
        reserved_first=4,
        reserved_last=1,
        caps_bandwidth=False,
        early_ipv6=True,
    ),
}
