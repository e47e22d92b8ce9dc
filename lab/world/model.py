"""What a world is declared to be: networks, firewalls, addresses, names, buckets.

Frozen data without any cloud's vocabulary. Whoever declares (one of the clouds, a test, the
command line) owns a `Part`; the world is the sum of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import TypeAdapter

Direction = Literal["in", "out"]
EVERYONE: Final = "*"  # every other host and service, in a Cut


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One line of a security group.

    `protocol` is tcp, udp, icmp, icmpv6, gre, an IP protocol number, or all; `ports` is inclusive,
    None for every port; `peer` is a CIDR, which speaks of its own address family only, or
    "group:<id>". Lower `priority` goes first; among equals a refusal wins.
    """

    direction: Direction
    protocol: str = "all"
    ports: tuple[int, int] | None = None
    peer: str = "0.0.0.0/0"
    allow: bool = True
    priority: int = 1


@dataclass(frozen=True, kw_only=True)
class Group:
    """A security group. What no rule speaks of is refused."""

    id: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """A range of addresses with one way out.

    `nat` is the public address its hosts share when they have none of their own; `direct` says
    whether hosts with a public address of their own can use it. `ipv6` is its IPv6 range: then
    its router answers hosts that ask for one.
    """

    id: str
    cidr: str
    gateway: str
    nat: str | None = None
    direct: bool = True
    ipv6: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A host's place in a network.

    `public` is mapped one to one to `address`. `ipv6` is nobody else's anywhere; it is good for
    inside its network, and with `ipv6_open` for everywhere.
    """

    host: str
    subnet: str
    address: str
    groups: tuple[str, ...] = ()
    public: str | None = None
    ipv6: str | None = None
    ipv6_open: bool = False
    interface: str = "eth0"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A private network behind a router of its own.

    `first_group_wins`: a host's groups are consulted one after another (Tencent) instead of all
    together.
    """

    id: str
    cidrs: tuple[str, ...]
    subnets: tuple[Subnet, ...] = ()
    groups: tuple[Group, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    first_group_wins: bool = False

    def attachment(self, host: str) -> Attachment | None:
        """The host's place in this network, if it has one."""
        return next((found for found in self.attachments if found.host == host), None)

    def subnet(self, id: str) -> Subnet:
        """The subnet of that id; StopIteration when there is none."""
        return next(found for found in self.subnets if found.id == id)

    def public_addresses(self) -> set[str]:
        """The public addresses that lead to this network's router."""
        shared = {subnet.nat for subnet in self.subnets if subnet.nat}
        return shared | {found.public for found in self.attachments if found.public}

    def open_ipv6(self) -> set[str]:
        """The IPv6 addresses that lead to this network's router from everywhere."""
        return {found.ipv6 for found in self.attachments if found.ipv6 and found.ipv6_open}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One value of a DNS name; `name` is absolute and without the final dot, `*.` is a wildcard."""

    name: str
    type: str
    value: str
    ttl: int = 600
    zone: str = ""  # where the name's SOA is


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object of a bucket; `digest` names its content in the state's objects folder."""

    key: str
    digest: str
    content_type: str = "application/octet-stream"
    public: bool = False


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket and the host names that lead to it, public ones and those inside the cloud.

    `public` decides what a stranger hears about a key that is not there: 404, or 403 if private.
    """

    name: str
    public: bool = False
    endpoints: tuple[str, ...]
    internal_endpoints: tuple[str, ...] = ()
    objects: tuple[StoredObject, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AccessKey:
    """A key of a cloud's API, and what its user may do.

    `policies` are JSON documents in the cloud's own language; `account` is the number by which
    they name the account.
    """

    id: str
    secret: str
    user: str
    account: str
    policies: tuple[str, ...] = ()
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Traffic between two hosts that is dropped, both ways.

    The second host may be EVERYONE. `protocol` limits the cut to one protocol; with tcp and udp,
    `ports` limits it to those ports of either end, and `except_ports` lets those pass.
    """

    hosts: tuple[str, str]
    protocol: str | None = None
    ports: tuple[int, ...] = ()
    except_ports: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """Everything one owner declares."""

    networks: tuple[Network, ...] = ()
    zones: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    cuts: tuple[Cut, ...] = ()
    zone_ids: Mapping[str, str] = field(default_factory=dict)  # as its DNS API numbers the zones
    access_keys: tuple[AccessKey, ...] = ()


@dataclass(frozen=True)
class Model:
    """The whole declaration, by owner."""

    parts: Mapping[str, Part] = field(default_factory=dict)

    def networks(self) -> Iterator[Network]:
        """Every network of every owner."""
        for part in self.parts.values():
            yield from part.networks

    def place(self, host: str) -> tuple[Network, Attachment] | None:
        """Where a host is attached."""
        for network in self.networks():
            if found := network.attachment(host):
                return network, found
        return None

    def cuts(self) -> list[Cut]:
        """Every cut of every owner."""
        return [cut for part in self.parts.values() for cut in part.cuts]


_PART: Final = TypeAdapter(Part)


def to_json(model: Model) -> Any:
    """Plain JSON of a declaration."""
    return {owner: _PART.dump_python(part, mode="json") for owner, part in model.parts.items()}


def from_json(value: Mapping[str, Any]) -> Model:
    """The declaration that `to_json` wrote; pydantic's ValidationError when it is another's."""
    return Model({owner: _PART.validate_python(part) for owner, part in value.items()})
