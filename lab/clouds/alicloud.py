"""Alibaba Cloud: what ECS, VPC, Alidns, RAM and OSS demand beyond the schema."""

from __future__ import annotations

from typing import Final

from lab.clouds import (
    alicloud_hosts,
    alicloud_identity,
    alicloud_ipv6,
    alicloud_network,
    alicloud_services,
    images,
)
from lab.clouds import alicloud_names as names
from lab.rules import CloudRules

RULES: Final = CloudRules(
    zones=names.ZONES,
    types={
        **alicloud_network.TYPES,
        **alicloud_ipv6.TYPES,
        **alicloud_hosts.TYPES,
        **alicloud_services.TYPES,
        **alicloud_identity.TYPES,
    },
    functions={
        "alicloud:ecs/getImages:getImages": images.alicloud_images,
        "alicloud:index/getZones:getZones": names.get_zones,
    },
    region_hint="set it on alicloud.Provider or with `pulumi config set alicloud:region`",
    global_modules=("alicloud:dns/", "alicloud:ram/", "alicloud:cdn/"),
)
