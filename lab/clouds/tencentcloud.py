"""Tencent Cloud: what CVM, VPC, DNSPod, CAM and COS demand beyond the schema."""

from __future__ import annotations

from typing import Final

from lab.clouds import (
    images,
    tencent_hosts,
    tencent_identity,
    tencent_ipv6,
    tencent_network,
    tencent_services,
)
from lab.clouds import tencent_names as names
from lab.rules import CloudRules

RULES: Final = CloudRules(
    zones=names.ZONES,
    types={
        **tencent_network.TYPES,
        **tencent_ipv6.TYPES,
        **tencent_hosts.TYPES,
        **tencent_services.TYPES,
        **tencent_identity.TYPES,
    },
    functions={
        "tencentcloud:Images/getInstance:getInstance": images.tencent_images,
        "tencentcloud:Availability/getZonesByProduct:getZonesByProduct": names.get_zones,
        "tencentcloud:User/getInfo:getInfo": names.get_info,
        "tencentcloud:Enis/getInstance:getInstance": names.get_interfaces,
        "tencentcloud:Dnspod/getDomainList:getDomainList": names.get_domains,
    },
    region_hint=(
        "set it on tencentcloud_iac_pulumi.Provider or with `pulumi config set tencentcloud:region`"
    ),
    global_modules=("tencentcloud:Dnspod/", "tencentcloud:Cam/"),
)
