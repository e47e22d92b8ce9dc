"""Rules over the whole settings tree: what no single field can know.

Each rule is one function that yields (key, message) pairs; `faults` runs them all, so that an
operator sees every fault at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING, Final

from mesh import capacity, catalogue

if TYPE_CHECKING:
    from mesh.settings import AddressRange, Settings, Size

Fault = tuple[str, str]

# Clients use these themselves, or leave them to the machine they run on: its name server, virtual
# machines of ChromeOS, and what one cloud answers at. Headscale gives none of them to a node.
NOT_FOR_NODES: Final = (
    IPv4Network("100.100.0.0/24"),
    IPv4Network("100.100.100.0/24"),
    IPv4Network("100.115.92.0/23"),
)


def faults(settings: Settings) -> list[Fault]:
    """Every broken rule, in the order of the rules below."""
    return [fault for rule in _RULES for fault in rule(settings)]


def _places(settings: Settings) -> list[tuple[str, catalogue.Cloud, str, dict[str, str]]]:
    """(key, cloud, region, zones by key) of every place that hosts run at."""
    control = settings.control
    zones = {f"control.zones[{i}]": zone for i, zone in enumerate(control.zones)}
    return [
        ("control.region", control.cloud, control.region, zones),
        *(
            (f"relays[{i}].region", relay.cloud, relay.region, {f"relays[{i}].zone": relay.zone})
            for i, relay in enumerate(settings.relays)
        ),
    ]


def _regions_and_zones_exist(settings: Settings) -> Iterator[Fault]:
    for key, cloud, region, zones in _places(settings):
        offered = catalogue.OFFERS[cloud].zones
        if region not in offered:
            known = ", ".join(sorted(offered))
            yield key, f"{region!r} is not a known region of {cloud}; choose one of {known}"
            continue
        for zone_key, zone in zones.items():
            if zone not in offered[region]:
                known = ", ".join(offered[region])
                yield zone_key, f"{zone!r} is not a zone of {region}; choose one of {known}"


def _home_zones_differ(settings: Settings) -> Iterator[Fault]:
    zones = settings.control.zones
    for i, zone in enumerate(zones):
        if zone in zones[:i]:
            yield (
                f"control.zones[{i}]",
                f"{zone!r} is named twice; name three different zones, so that the loss of one "
                "leaves two etcd voters",
            )


def _sizes(settings: Settings) -> list[tuple[str, catalogue.Cloud, Size]]:
    control = settings.control
    return [
        ("control.headscale", control.cloud, control.headscale),
        ("control.database", control.cloud, control.database),
        ("control.operations", control.cloud, control.operations),
        *((f"relays[{i}].size", r.cloud, r.size) for i, r in enumerate(settings.relays)),
    ]


def _sizes_are_sold(settings: Settings) -> Iterator[Fault]:
    for key, cloud, size in _sizes(settings):
        offered = catalogue.OFFERS[cloud].instance_types
        if (size.cpus, size.memory_gib) not in offered:
            known = ", ".join(f"{cpus}/{memory}" for cpus, memory in sorted(offered))
            yield (
                key,
                f"{size.cpus} CPUs with {size.memory_gib} GiB are not in the catalogue of {cloud}; "
                f"choose one of (CPUs/GiB) {known}",
            )


def _only_databases_have_data_disks(settings: Settings) -> Iterator[Fault]:
    if settings.control.database.data_gib is None:
        yield "control.database.data_gib", "missing; the database lives on its own disk: 20 or more"
    for key, _, size in _sizes(settings):
        if key != "control.database" and size.data_gib is not None:
            yield f"{key}.data_gib", f"{size.data_gib} is not allowed: only the database has one"


def _the_entry_holds_every_node(settings: Settings) -> Iterator[Fault]:
    memory = settings.control.headscale.memory_gib
    needed = settings.expected_nodes * capacity.CONNECTIONS_EACH
    if needed > (held := capacity.connections(memory)):
        yield (
            "expected_nodes",
            f"{settings.expected_nodes} nodes need {needed} connections, and the entry of a host"
            f" with {memory} GiB holds {held}; give control.headscale more memory_gib",
        )


def _ranges(settings: Settings) -> list[tuple[str, IPv4Network]]:
    return [
        ("control.cidr", settings.control.cidr),
        *((f"relays[{i}].cidr", relay.cidr) for i, relay in enumerate(settings.relays)),
    ]


def _networks_fit(settings: Settings) -> Iterator[Fault]:
    for key, cidr in _ranges(settings):
        longest = 24 if key == "control.cidr" else 28
        if not 16 <= cidr.prefixlen <= longest:
            yield key, f"{cidr} is not allowed: a network is /16 to /{longest}"
        if not cidr.is_private:
            yield key, f"{cidr} is not private; use a part of 10/8, 172.16/12 or 192.168/16"
    for (key, one), (other_key, other) in combinations(_ranges(settings), 2):
        if one.overlaps(other):
            yield other_key, f"{other} overlaps {key} ({one}); give each network its own range"


def _relays_are_unique(settings: Settings) -> Iterator[Fault]:
    """Relays of one code are one DERP region with one id and name, which no other region has."""
    for (_, first), (i, second) in combinations(enumerate(settings.relays), 2):
        if first.host == second.host:
            taken = f"{second.code} is taken by {first.host}; choose another, or another number"
            yield f"relays[{i}].code", taken
            continue
        for field in ("region_id", "name"):
            one, other = getattr(first, field), getattr(second, field)
            if one == other and first.code != second.code:
                yield f"relays[{i}].{field}", f"{other} is taken by {first.host}; choose another"
            if one != other and first.code == second.code:
                yield f"relays[{i}].{field}", f"{other} differs from {first.host}'s {one}"


def _server_stays_outside_the_base_domain(settings: Settings) -> Iterator[Fault]:
    base = settings.magic_dns.base_domain
    if f".{settings.server_name}".endswith(f".{base}"):
        yield (
            "magic_dns.base_domain",
            f"{base!r} holds the server {settings.server_name}: Headscale refuses to start so; "
            "use a domain of its own, such as ts.example.internal",
        )


def _address_plan_holds(settings: Settings) -> Iterator[Fault]:
    from mesh.settings import MESH_V4

    ranges = settings.addresses
    for i, part in enumerate(ranges):
        if not part.cidr.subnet_of(MESH_V4):
            yield f"addresses[{i}].cidr", f"{part.cidr} is outside {MESH_V4}"
        if part.name in [other.name for other in ranges[:i]]:
            yield f"addresses[{i}].name", f"{part.name!r} is used twice"
        for other in ranges[:i]:
            nested = part.name.startswith(f"{other.name}-") and part.cidr.subnet_of(other.cidr)
            if part.cidr.overlaps(other.cidr) and not nested:
                yield (
                    f"addresses[{i}].cidr",
                    f"{part.cidr} overlaps {other.name} ({other.cidr}); only a range named "
                    f"{other.name}-… may lie inside it",
                )


def _no_two_ranges_claim_the_same(settings: Settings) -> Iterator[Fault]:
    """Else it would depend on the order of the file who gets whom."""
    taken: dict[tuple[str, str], str] = {}
    for i, part in enumerate(settings.addresses):
        for claim in part.claims:
            if claim in taken:
                field, what = claim
                yield f"addresses[{i}].{field}", f"{what} is claimed by {taken[claim]} already"
            taken.setdefault(claim, part.name)


def _claiming_ranges_have_addresses(settings: Settings) -> Iterator[Fault]:
    """Of their own: what lies in a range inside them is that one's."""
    for i, part in enumerate(settings.addresses):
        if not (part.claims or part.fixed):
            continue
        inside = sum(other.num_addresses for other in _outermost(_inside(settings, part)))
        if part.cidr.num_addresses - inside < 3 or part.cidr.prefixlen > 30:
            yield (
                f"addresses[{i}].cidr",
                f"{part.cidr} claims nodes but has no addresses of its own for them; take a "
                "larger one, or let only the ranges inside it claim",
            )
        for kept in NOT_FOR_NODES:
            if part.cidr.overlaps(kept):
                yield f"addresses[{i}].cidr", f"{part.cidr} holds {kept}, which is not for nodes"


def _inside(settings: Settings, part: AddressRange) -> list[IPv4Network]:
    """The ranges that lie inside one."""
    others = (other for other in settings.addresses if other is not part)
    return [other.cidr for other in others if other.name.startswith(f"{part.name}-")]


def _outermost(ranges: list[IPv4Network]) -> list[IPv4Network]:
    return [
        one for one in ranges if not any(one != other and one.subnet_of(other) for other in ranges)
    ]


def _fixed_addresses_fit(settings: Settings) -> Iterator[Fault]:
    taken: dict[str | IPv4Address, str] = {}
    for i, part in enumerate(settings.addresses):
        for name, address in part.fixed.items():
            key = f"addresses[{i}].fixed.{name}"
            own = address in part.cidr and all(
                address not in other for other in _inside(settings, part)
            )
            if not own or address in (part.cidr[0], part.cidr[-1]) or int(address) % 256 == 0:
                yield key, f"{address} is not an address of {part.name} ({part.cidr}) for nodes"
            if not re.fullmatch(settings.node_names.server, name):
                yield key, f"{name!r} is no name of a server by node_names"
            if not part.claims:
                yield key, f"{part.name} claims nobody: add tags, groups or users to it"
            for what in (name, address):
                if what in taken:
                    yield key, f"{what} is fixed by {taken[what]} already"
                taken.setdefault(what, key)


def _extra_records_take_no_name(settings: Settings) -> Iterator[Fault]:
    """Clients answer such a name themselves, so it hides whatever has the name elsewhere."""
    dns = settings.magic_dns
    public = {f"{relay.host}.{settings.dns.zone}" for relay in settings.relays}
    seen: dict[str, str] = {}
    for name in dns.extra_records:
        full, key = dns.full(name), f"magic_dns.extra_records.{name}"
        if full in {settings.server_name, *public}:
            yield key, f"{full!r} is a public name that clients need as it is; choose another"
        if full in seen:
            yield key, f"{name!r} and {seen[full]!r} are the same name, {full}; remove one"
        seen[full] = name


def _split_leaves_the_mesh_its_names(settings: Settings) -> Iterator[Fault]:
    base = settings.magic_dns.base_domain
    for domain in settings.magic_dns.split:
        if f".{domain}".endswith(f".{base}"):
            yield (
                f"magic_dns.split.{domain}",
                f"{domain!r} is of base_domain ({base}), which clients answer themselves; use"
                " extra_records for names in it",
            )


_RULES = (
    _regions_and_zones_exist,
    _home_zones_differ,
    _sizes_are_sold,
    _only_databases_have_data_disks,
    _the_entry_holds_every_node,
    _networks_fit,
    _relays_are_unique,
    _server_stays_outside_the_base_domain,
    _address_plan_holds,
    _extra_records_take_no_name,
    _split_leaves_the_mesh_its_names,
    _no_two_ranges_claim_the_same,
    _claiming_ranges_have_addresses,
    _fixed_addresses_fit,
)
