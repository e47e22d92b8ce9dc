"""What the name server, the object store and the DNS APIs are to say, from what was declared."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from lab.world import addresses, zone
from lab.world.model import AccessKey, Bucket, Model, Part, Record
from lab.world.services import acme, mirror
from lab.world.services.dnsapi import server
from lab.world.state import State, write_json

_RECORDS = TypeAdapter(list[Record])
_KEYS = TypeAdapter(list[AccessKey])


def publish(state: State, model: Model) -> None:
    """Write the files that the servers read; their next answer follows them."""
    buckets = [bucket for part in model.parts.values() for bucket in part.buckets]
    records = [record for part in model.parts.values() for record in part.records]
    zones = {name for part in model.parts.values() for name in part.zones}
    records += zone.own(sorted(mirror.archives()), addresses.MIRROR)
    records += zone.own(acme.HOSTS, addresses.ACME)
    records += zone.own(server.HOSTS, addresses.DNS_API)
    records += zone.own([zone.SERVER], addresses.NAMESERVER)
    for bucket in buckets:
        records += zone.own(bucket.endpoints, addresses.OBJECTS)
        records += zone.own(bucket.internal_endpoints, addresses.OBJECTS_INTERNAL)
    content = {"zones": sorted(zones), "records": _RECORDS.dump_python(records, mode="json")}
    write_json(state.names, content)
    served = {name: _served(bucket) for bucket in buckets for name in _names(bucket)}
    write_json(state.buckets, served)
    accounts = {owner: _account(part) for owner, part in model.parts.items() if part.zone_ids}
    write_json(state.dns_api, accounts)


def _account(part: Part) -> dict[str, Any]:
    """What one cloud's DNS API knows."""
    records = [record for record in part.records if record.zone in part.zone_ids]
    return {
        "zones": dict(part.zone_ids),
        "keys": _KEYS.dump_python(list(part.access_keys), mode="json"),
        "records": _RECORDS.dump_python(records, mode="json"),
    }


def _names(bucket: Bucket) -> tuple[str, ...]:
    return (*bucket.endpoints, *bucket.internal_endpoints)


def _served(bucket: Bucket) -> dict[str, Any]:
    objects = {
        found.key: {
            "digest": found.digest,
            "content_type": found.content_type,
            "public": found.public,
        }
        for found in bucket.objects
    }
    return {"public": bucket.public, "objects": objects}
