"""What a cloud has, seen as a whole, and the small translations all clouds share."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.resource import Asset, CloudError, Hidden, Resource
from lab.world.model import Record

_ANSWERED: Final = {"A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT"}
ANYWHERE: Final = "0.0.0.0/0"
ANYWHERE6: Final = "::/0"


@dataclass(frozen=True)
class View:
    """Every resource of one cloud, the lab's names of its hosts, the contents of its objects.

    An object without a digest is just being made and not there yet.
    """

    resources: tuple[Resource, ...]
    host_names: Mapping[str, str]  # by the instance's id
    digests: Mapping[str, str]  # by the object's id

    def all(self, *types: str) -> list[Resource]:
        """Every resource of these types, oldest first."""
        return [found for found in self.resources if found.type in types]

    def get(self, type: str, id: Any) -> Resource | None:
        """The resource of that type and id."""
        return next((found for found in self.all(type) if found.id == id), None)

    def of(self, type: str, key: str, value: Any) -> list[Resource]:
        """The resources of a type whose property has that value, such as a network's subnets."""
        return [found for found in self.all(type) if found.outputs.get(key) == value]


@dataclass(frozen=True, kw_only=True)
class Types:
    """The type tokens of a cloud that have effects besides what is declared."""

    instance: str
    objects: frozenset[str]
    volume: str
    volume_attachment: str
    volume_key: str  # the input of an attachment that names the volume
    devices: tuple[str, ...]  # names of data disks in a host, in their order
    declared: frozenset[str]  # every type that the cloud's `part` looks at


def content_of(resource: Resource) -> bytes:
    """What a bucket object holds; CloudError when its file cannot be read. Paths are relative to
    the program, as the clouds' own providers take them.
    """
    given = resource.inputs
    try:
        if isinstance(given.get("source"), Asset):
            return _asset(given["source"])
        if given.get("source"):
            return Path(given["source"]).read_bytes()
    except OSError as error:
        raise CloudError("NoSuchFile", str(error), "source", exists=False) from error
    if given.get("contentBase64"):
        return base64.b64decode(given["contentBase64"])
    return str(given.get("content") or "").encode()


def _asset(source: Asset) -> bytes:
    data = source.read()
    if source.hash and hashlib.sha256(data).hexdigest() != source.hash:
        text = f"{source.path} has changed since it was read"
        raise CloudError("BadDigest", text, "source", exists=False)
    return data


def decoded(text: str) -> bytes:
    """User data that may have been given in base64 or as it is."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def visible(resource: Resource, key: str) -> str:
    """A property as text; CloudError when it was declared secret and is not kept."""
    value = resource.outputs.get(key)
    if isinstance(value, Hidden):
        text = f"{key} of {resource.name} is secret, and the lab does not keep secrets"
        raise CloudError("LabSecret", text, key, exists=False)
    return str(value or "")


def peer(rule: str, group: Any, *ranges: Any) -> str:
    """Whom a rule speaks of, in the world's words; CloudError when by neither group nor range."""
    if group:
        return f"group:{group}"
    for found in ranges:
        if found:
            return str(found)
    text = f"the lab knows rules by address range and by group only, not that of {rule}"
    raise CloudError("LabUnsupported", text, exists=False)


def host_name(*candidates: Any) -> str:
    """The first usable name as a host label: lower-case letters, digits and hyphens."""
    for candidate in candidates:
        label = re.sub(r"[^a-z0-9-]+", "-", str(candidate or "").lower()).strip("-")
        if label:
            return label[:34]  # of 40; a suffix may have to tell it from another
    return "host"


def records(
    zone: str, label: str, kind: str, values: Iterable[str], ttl: Any, priority: Any = None
) -> list[Record]:
    """The values of a name in a zone; `label` "@" or "" is the zone itself. Kinds that only the
    cloud's web console understands (URL redirects) give none.
    """
    zone = zone.rstrip(".").lower()
    name = zone if label in {"@", ""} else f"{label}.{zone}".lower()
    kind = kind.upper()
    if kind not in _ANSWERED:
        return []
    prefix = f"{int(priority)} " if kind == "MX" and priority is not None else ""
    return [
        Record(name=name, type=kind, value=f"{prefix}{value}", ttl=int(ttl), zone=zone)
        for value in values
    ]


def is_public(acl: Any) -> bool:
    """Whether an ACL lets everyone read."""
    return str(acl or "").startswith("public-read")


def is_on(flag: Any) -> bool:
    """A flag that may arrive as text."""
    return flag in (True, "true")
