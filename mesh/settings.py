"""The settings of one stack: everything an operator can choose in stacks/Pulumi.<stack>.yaml.

`load` turns the raw values of the `mesh:` namespace into one frozen tree, or raises
`SettingsError` that lists every fault at once with the key, the value and what is allowed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from mesh import capacity, catalogue, resolution
from mesh.catalogue import Cloud, DnsProvider, OperatingSystem

MESH_V4: Final = ipaddress.IPv4Network("100.64.0.0/10")  # carrier-grade NAT range (RFC 6598)
MESH_V6: Final = ipaddress.IPv6Network("fd7a:115c:a1e0::/48")  # the only v6 range clients accept
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"({_LABEL}\.)+[a-z]{{2,63}}")
_CODE: Final = r"^[a-z][a-z0-9]{1,7}$"


class SettingsError(Exception):
    """A stack file that cannot be used; the message lists every fault, one a line."""


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value) or len(value) > 253:
        raise ValueError("must be a lower-case DNS name such as ops.example.com")
    return value


def _record_name(value: str) -> str:
    return value if re.fullmatch(_LABEL, value) else _domain(value)


Domain = Annotated[str, AfterValidator(_domain)]
RecordName = Annotated[str, AfterValidator(_record_name)]
Resolver = Annotated[str, PlainValidator(resolution.resolver)]
Target = Annotated[resolution.Target, PlainValidator(resolution.target)]
Network4 = ipaddress.IPv4Network
Code = Annotated[str, Field(pattern=_CODE)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Size(_Frozen):
    """How big a host is; the cloud's instance type follows from it."""

    cpus: int = Field(description="Virtual CPUs.", ge=1, le=64)
    memory_gib: int = Field(description="Memory in GiB.", ge=1, le=512)
    disk_gib: int = Field(description="System disk in GiB.", ge=20, le=2048)
    data_gib: int | None = Field(
        None, description="Data disk in GiB; only databases have one.", ge=20, le=32768
    )


class Dns(_Frozen):
    """Where the public names live."""

    provider: DnsProvider = Field(description="Which service holds the zone.")
    zone: Domain = Field(description="The zone of the public names, such as ops.example.com.")
    create: bool = Field(
        False, description="Whether the stack makes the zone; else it must be there."
    )
    server: Annotated[str, Field(pattern=f"^{_LABEL}$")] = Field(
        "hs", description="Label of Headscale's own name inside the zone."
    )
    ttl: int = Field(
        600,
        description=(
            "Seconds that resolvers may keep an answer. 600 is the least of the free editions of"
            " alidns and DNSPod; no fail-over waits for it: docs/guides/public-names.md."
        ),
        ge=1,
        le=86400,
    )


class Control(_Frozen):
    """The control plane: Headscale pair, database pair and operations host."""

    cloud: Cloud = Field(description="The home cloud.")
    region: str = Field(description="The home region, as the cloud spells it.")
    zones: tuple[str, str, str] = Field(
        description="Three zones of the region: the pairs use the first two, operations the third."
    )
    cidr: Network4 = Field(description="Private addresses of the home network, /16 to /24.")
    headscale: Size = Field(description="Size of hs-1 and hs-2.")
    database: Size = Field(description="Size of pg-1 and pg-2.")
    operations: Size = Field(description="Size of ops-1.")


class Certificates(_Frozen):
    """Certificates of the public names."""

    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")] = Field(
        description="Contact of the ACME account."
    )
    directory: Annotated[str, Field(pattern=r"^https://[^\s]+$")] = Field(
        "https://acme-v02.api.letsencrypt.org/directory", description="The ACME server's directory."
    )


class Relay(_Frozen):
    """One DERP relay in a network of its own. Relays of one DERP region share code, name and id."""

    code: Code = Field(description="Short lower-case region code, such as bj; names derp-bj.")
    number: int = Field(
        1, description="Which of the region's relays; the second is named derp-bj-2.", ge=1, le=9
    )
    name: str = Field(description="The region's name as people read it.", min_length=1)
    region_id: int = Field(description="DERP region id.", ge=900, le=999)
    cloud: Cloud = Field(description="The cloud it runs at.")
    region: str = Field(description="The cloud's region.")
    zone: str = Field(description="A zone of the region.")
    cidr: Network4 = Field(description="Private addresses of the relay's network, /16 to /28.")
    size: Size = Field(description="Size of the host.")
    bandwidth_mbps: int = Field(100, description="Public bandwidth in Mbit/s.", ge=1, le=1000)
    client_mbps: int | None = Field(
        None,
        description="Most that one client may send, in Mbit/s; none without it.",
        ge=1,
        le=1000,
    )
    ipv6: bool = Field(
        False,
        description=(
            "Whether it has a public IPv6 address, too; not every zone and account has them, and"
            " mainland clouds bill their traffic apart: docs/guides/relays.md."
        ),
    )
    certificate: Literal["dns", "http", "pinned"] = Field(
        "dns",
        description=(
            "How it gets its certificate: by DNS-01; by HTTP-01, where no DNS credential shall lie"
            " on the host; or one that clients know by its hash, where no ACME server gets through."
        ),
    )

    @property
    def host(self) -> str:
        """The name of its host, and the label of its public name."""
        return f"derp-{self.code}" if self.number == 1 else f"derp-{self.code}-{self.number}"


Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{1,15}$")]  # of a node's name
Tag = Annotated[str, Field(pattern=r"^tag:[a-z][a-z0-9-]{0,62}$")]
Group = Annotated[str, Field(pattern=r"^group:[a-z][a-z0-9-]{0,62}$")]
Owner = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]  # Headscale's name of a user


class AddressRange(_Frozen):
    """A part of the mesh's address space and who it is for (plan 3.1).

    Nodes that it claims get an address of it, outside the ranges that lie inside it. A server is
    claimed by the range of which it has all tags: more of them go before fewer, then the file's
    order counts. A device is claimed by a group of its user, and else by its user.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")] = Field(description="Its name.")
    cidr: Network4 = Field(description="The range, inside 100.64.0.0/10.")
    tags: tuple[Tag, ...] = Field((), description="Servers with all of these tags.")
    groups: tuple[Group, ...] = Field(
        (), description="Devices whose user is in one of these groups of the policy."
    )
    users: tuple[Owner, ...] = Field((), description="Devices of these users.")
    fixed: dict[str, ipaddress.IPv4Address] = Field(
        default_factory=dict,
        description="Addresses of single nodes by name; the range must claim them, too.",
    )

    @property
    def claims(self) -> tuple[tuple[str, str], ...]:
        """(field, what of it) for each way to be claimed; no two ranges share one."""
        tags = ", ".join(sorted(self.tags))
        return (
            *([("tags", tags)] if tags else []),
            *(("groups", group) for group in self.groups),
            *(("users", user) for user in self.users),
        )


class Names(_Frozen):
    """What the name of a node may say (plan 3.3): <environment>-<role>-<region>-<number> of a
    server, such as prod-web-bj-001; <team>-<device>-<person>, such as ops-laptop-zhangsan."""

    environments: tuple[Word, ...] = Field(description="Allowed environments.", min_length=1)
    roles: tuple[Word, ...] = Field(description="Allowed roles.", min_length=1)
    regions: tuple[Code, ...] = Field(description="Allowed regions.", min_length=1)
    teams: tuple[Word, ...] = Field(description="Teams of people with devices.", min_length=1)
    devices: tuple[Word, ...] = Field(description="Kinds of devices.", min_length=1)

    @property
    def server(self) -> str:
        """A regular expression for the whole name of a server."""
        parts = (self.environments, self.roles, self.regions)
        return "-".join(f"({'|'.join(part)})" for part in parts) + "-[0-9]{3}"

    @property
    def device(self) -> str:
        """A regular expression for the whole name of a person's device."""
        return f"({'|'.join(self.teams)})-({'|'.join(self.devices)})-[a-z][a-z0-9-]*"


class MagicDns(_Frozen):
    """Names inside the mesh."""

    base_domain: Domain = Field(description="Suffix of node names; never holds the server's name.")
    nameservers: tuple[Resolver, ...] = Field(
        description="Resolvers handed to clients: addresses, or URLs for DNS over HTTPS.",
        min_length=1,
    )
    split: dict[Domain, Annotated[tuple[Resolver, ...], Field(min_length=1)]] = Field(
        default_factory=dict, description="Resolvers for single domains."
    )
    search_domains: tuple[Domain, ...] = Field((), description="Search list of clients.")
    extra_records: Annotated[dict[RecordName, Target], BeforeValidator(resolution.named)] = Field(
        default_factory=dict,
        description=(
            "Names that no node has, each with its addresses or the node whose addresses it gets;"
            " a name without a dot is one of base_domain."
        ),
    )

    def full(self, name: str) -> str:
        """The whole of a name that may leave base_domain out."""
        return name if "." in name else f"{name}.{self.base_domain}"

    @property
    def records(self) -> dict[str, resolution.Target]:
        """What each extra name leads to, by its whole name."""
        return {self.full(name): target for name, target in self.extra_records.items()}


class Settings(_Frozen):
    """Everything one stack needs to know."""

    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{1,11}$")] = Field(
        description="Short name of the installation; prefixes every cloud resource."
    )
    protect: bool = Field(description="Whether stateful hosts refuse deletion.")
    os: OperatingSystem = Field("debian-12", description="Operating system of the hosts.")
    time_zone: str = Field("Asia/Shanghai", description="Time zone of the hosts.")
    admin_cidrs: tuple[Network4, ...] = Field(
        description="Networks that operators' SSH comes from.", min_length=1
    )
    dns: Dns = Field(description="Public names.")
    certificates: Certificates = Field(description="Certificates of the public names.")
    control: Control = Field(description="The control plane.")
    relays: tuple[Relay, ...] = Field(description="The DERP relays.", min_length=1)
    recovery: Literal["fast", "normal"] = Field(
        "fast",
        description=(
            "Timing of fail-over, Patroni's ttl/loop/retry and the guards' lease: fast 20/1/5 and"
            " 5 s, normal 30/10/10 and 10 s."
        ),
    )
    arbiter: bool = Field(
        False,
        description=(
            "Whether ops-1 lets the database's standby take over at once when the primary's host"
            " is surely gone, instead of waiting for Patroni's ttl; docs/decisions/0010."
        ),
    )
    headscale_build: capacity.Build = Field(
        "patched",
        description=(
            "Which Headscale runs: patched with two statements of ours, so that it carries more"
            " than some hundred nodes with a policy, or the release as it is; docs/decisions/0014."
        ),
    )
    magic_dns: MagicDns = Field(description="Names inside the mesh.")
    addresses: tuple[AddressRange, ...] = Field(description="Plan of mesh addresses.")
    addresses_nightly: bool = Field(
        False,
        description=(
            "Whether newcomers get their address by the plan each night; Headscale is away for"
            " some seconds then. Else `mesh-registry addresses apply` does it."
        ),
    )
    node_names: Names = Field(description="Rule for node names.")
    expected_nodes: int = Field(
        1000,  # plan 12.3
        description=(
            "How many nodes the mesh is made for. Headscale's tuning, the pace of the entry and"
            " preview's warning follow from it; docs/guides/capacity.md."
        ),
        ge=1,
        le=capacity.MOST_NODES,
    )
    tuning: capacity.Tuning = Field(
        capacity.Tuning(), description="Headscale's tuning where it shall not follow by itself."
    )

    @property
    def server_name(self) -> str:
        """Headscale's public name, e.g. hs.ops.example.com."""
        return f"{self.dns.server}.{self.dns.zone}"

    def relay(self, host: str) -> Relay:
        """The relay on the host of that name; KeyError names it when there is none."""
        return {relay.host: relay for relay in self.relays}[host]

    @property
    def clouds(self) -> frozenset[Cloud]:
        """The clouds that hosts or names of this stack live at."""
        hosts = {self.control.cloud, *(relay.cloud for relay in self.relays)}
        return frozenset(hosts | {catalogue.CLOUD_OF_DNS[self.dns.provider]})

    @model_validator(mode="after")
    def _whole(self) -> Self:
        from mesh import rules  # the rules read this tree

        faults = rules.faults(self)
        if faults:
            raise CrossFieldError(faults)
        return self


class CrossFieldError(ValueError):
    """Faults found over the whole tree: (key, message) pairs."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {message}" for key, message in faults))
        self.faults = faults


def load(values: Mapping[str, Any], source: str) -> Settings:
    """The settings in `values` (key without namespace → value, as the stack file has them).

    `source` names the file in errors, e.g. "stacks/Pulumi.prod.yaml". Raises SettingsError.
    """
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as error:
        lines = [line for fault in error.errors() for line in _lines(fault)]
    plural = "" if len(lines) == 1 else "s"
    raise SettingsError("\n  ".join([f"{source}: {len(lines)} error{plural}", *lines]))


def _lines(fault: Any) -> list[str]:
    """What to tell about one of pydantic's faults: key, value, what is allowed."""
    inner = fault.get("ctx", {}).get("error")
    if isinstance(inner, CrossFieldError):
        return [f"mesh:{key}: {message}" for key, message in inner.faults]
    key = _key(fault["loc"])
    if fault["type"] == "missing":
        return [f"mesh:{key}: missing; {_description(fault['loc'])}"]
    if fault["type"] == "extra_forbidden":
        return [f"mesh:{key}: no such setting; remove it or correct its spelling"]
    message = str(inner) if inner else fault["msg"]
    return [f"mesh:{key}: {fault['input']!r} is not allowed: {message[0].lower()}{message[1:]}"]


def _key(location: tuple[str | int, ...]) -> str:
    key = ""
    for part in location:
        if part != "[key]":  # of pydantic's, for a wrong key
            key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _description(location: tuple[str | int, ...]) -> str:
    """The documentation of the setting at that place in the tree."""
    model: type[BaseModel] = Settings
    text = "a value is required"
    for part in location:
        field = model.model_fields.get(str(part)) if not isinstance(part, int) else None
        if field is None:
            continue
        text = field.description or text
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return text
