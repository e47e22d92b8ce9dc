"""Stack values that must be refused, each with what its error has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class BadValue:
    """One wrong value: where, what, and the words an operator must read."""

    title: str
    path: str  # as tests.stacks.changed walks it
    value: Any
    says: tuple[str, ...]


BAD_VALUES: Final = (
    BadValue("an unknown region", "control.region", "cn-peking",
             ("mesh:control.region", "'cn-peking'", "cn-beijing")),
    BadValue("a zone of another region", "control.zones.1", "cn-shanghai-a",
             ("mesh:control.zones[1]", "'cn-shanghai-a'", "cn-beijing-a")),
    BadValue("one zone twice", "control.zones.2", "cn-beijing-h",
             ("mesh:control.zones[2]", "'cn-beijing-h'", "three different zones")),
    BadValue("two zones only", "control.zones", ["cn-beijing-h", "cn-beijing-k"],
             ("mesh:control.zones[2]", "missing", "Three zones")),
    BadValue("an unknown cloud", "control.cloud", "azure",
             ("mesh:control.cloud", "'azure'", "'alicloud', 'tencentcloud' or 'aws'")),
    BadValue("overlapping networks", "relays.0.cidr", "10.10.8.0/24",
             ("mesh:relays[0].cidr", "10.10.8.0/24", "control.cidr (10.10.0.0/20)")),
    BadValue("a public range", "control.cidr", "8.8.0.0/20",
             ("mesh:control.cidr", "8.8.0.0/20", "10/8, 172.16/12 or 192.168/16")),
    BadValue("a network that is too small", "control.cidr", "10.10.0.0/26",
             ("mesh:control.cidr", "10.10.0.0/26", "/16 to /24")),
    BadValue("a range with host bits", "relays.1.cidr", "10.20.2.7/24",
             ("mesh:relays[1].cidr", "10.20.2.7/24", "network")),
    BadValue("a DERP region id below 900", "relays.0.region_id", 42,
             ("mesh:relays[0].region_id", "42", "900")),
    BadValue("a DERP region id above 999", "relays.0.region_id", 1000,
             ("mesh:relays[0].region_id", "1000", "999")),
    BadValue("a DERP region id twice", "relays.2.region_id", 900,
             ("mesh:relays[2].region_id", "900", "derp-bj")),
    BadValue("a relay code twice", "relays.1.code", "bj",
             ("mesh:relays[1].code", "bj", "derp-bj")),
    BadValue("a relay code in capitals", "relays.0.code", "BJ",
             ("mesh:relays[0].code", "'BJ'", "^[a-z]")),
    BadValue("a base domain that holds the server", "magic_dns.base_domain", "ops.company.com",
             ("mesh:magic_dns.base_domain", "'ops.company.com'", "hs.ops.company.com")),
    BadValue("an alias for a node of the mesh", "magic_dns.extra_records",
             {"gitlab": "prod-gitlab-bj-001.ts.company.local"},
             ("mesh:magic_dns.extra_records.gitlab", "'prod-gitlab-bj-001.ts.company.local'",
              "CNAME", "name the node")),
    BadValue("a zone that is no domain", "dns.zone", "ops_company",
             ("mesh:dns.zone", "'ops_company'", "lower-case DNS name")),
    BadValue("an unknown DNS provider", "dns.provider", "cloudflare",
             ("mesh:dns.provider", "'cloudflare'", "'alidns', 'dnspod' or 'route53'")),
    BadValue("an environment against the rule", "environment", "Prod-1",
             ("mesh:environment", "'Prod-1'", "^[a-z]")),
    BadValue("a size that no cloud sells", "control.headscale.cpus", 3,
             ("mesh:control.headscale", "3 CPUs", "4/8")),
    BadValue("a database without its disk", "control.database.data_gib", None,
             ("mesh:control.database.data_gib", "missing", "20 or more")),
    BadValue("a mesh range outside 100.64.0.0/10", "addresses.0.cidr", "10.64.0.0/16",
             ("mesh:addresses[0].cidr", "10.64.0.0/16", "100.64.0.0/10")),
    BadValue("mesh ranges that overlap", "addresses.13.cidr", "100.65.2.0/24",
             ("mesh:addresses[13].cidr", "100.65.2.0/24", "overlaps prod")),
    BadValue("a tag without its prefix", "addresses.5.tags", ["web"],
             ("mesh:addresses[5].tags[0]", "'web'", "^tag:")),
    BadValue("the same tags for two ranges", "addresses.6.tags", ["tag:web", "tag:prod"],
             ("mesh:addresses[6].tags", "tag:prod, tag:web", "claimed by prod-web")),
    BadValue("the same group for two ranges", "addresses.32.groups", ["group:ops-admin"],
             ("mesh:addresses[32].groups", "group:ops-admin", "claimed by operators-senior")),
    BadValue("the same user for two ranges", "addresses.0.users", ["prod"],
             ("mesh:addresses[4].users", "prod", "claimed by infra")),
    BadValue("a range that is all its children's", "addresses.0.cidr", "100.64.2.0/24",
             ("mesh:addresses[0].cidr", "100.64.2.0/24", "no addresses of its own")),
    BadValue("a range with addresses that clients use", "addresses.33.cidr", "100.100.0.0/16",
             ("mesh:addresses[33].cidr", "100.100.0.0/16", "100.100.100.0/24", "not for nodes")),
    BadValue("a fixed address of another range", "addresses.3.fixed",
             {"infra-monitoring-bj-001": "100.64.0.10"},
             ("mesh:addresses[3].fixed.infra-monitoring-bj-001", "100.64.0.10", "100.64.2.0/24")),
    BadValue("a fixed address that is the network's", "addresses.3.fixed",
             {"infra-monitoring-bj-001": "100.64.2.0"},
             ("mesh:addresses[3].fixed.infra-monitoring-bj-001", "100.64.2.0", "not an address")),
    BadValue("a fixed address for a name against the rule", "addresses.3.fixed",
             {"monitoring": "100.64.2.10"},
             ("mesh:addresses[3].fixed.monitoring", "'monitoring'", "node_names")),
    BadValue("an address fixed twice", "addresses.3.fixed",
             {"infra-monitoring-bj-001": "100.64.2.10", "infra-monitoring-bj-002": "100.64.2.10"},
             ("mesh:addresses[3].fixed.infra-monitoring-bj-002", "100.64.2.10", "already")),
    BadValue("a fixed address where nobody is claimed", "addresses.3.tags", [],
             ("mesh:addresses[3].fixed.infra-monitoring-bj-001", "claims nobody")),
    BadValue("a kind of device with a dash", "node_names.devices", ["lap-top"],
             ("mesh:node_names.devices[0]", "'lap-top'", "^[a-z]")),
    BadValue("a misspelt setting", "contrl", {},
             ("mesh:contrl", "no such setting", "spelling")),
    BadValue("an arbiter that is neither on nor off", "arbiter", "perhaps",
             ("mesh:arbiter", "'perhaps'", "boolean")),
    BadValue("a build of Headscale that is none", "headscale_build", "tuned",
             ("mesh:headscale_build", "'tuned'", "'patched' or 'stock'")),
    BadValue("no operators' network", "admin_cidrs", [],
             ("mesh:admin_cidrs", "[]", "at least 1")),
)  # fmt: skip
