"""What may stand in the DNS settings: resolvers, and what the mesh's own names lead to.

Clients decide what is possible: they drop every record but A and AAAA, answer with one address
of a family, and know few resolvers by URL. Headscale passes on anything. docs/guides/dns.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAGIC: Final = (  # where a client's own resolver answers: it would ask itself
    ipaddress.IPv4Address("100.100.100.100"),
    ipaddress.IPv6Address("fd7a:115c:a1e0::53"),
)
# Whose address the clients know for DNS over HTTPS; of others they ask nothing.
DOH_HOSTS: Final = (
    "adblock.dns.mullvad.net",
    "all.dns.mullvad.net",
    "base.dns.mullvad.net",
    "cloudflare-dns.com",
    "dns.google",
    "dns.mullvad.net",
    "dns.quad9.net",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "extended.dns.mullvad.net",
    "family.cloudflare-dns.com",
    "family.dns.mullvad.net",
    "security.cloudflare-dns.com",
    "wikimedia-dns.org",
)
DOH_PROFILES: Final = ("dns.controld.com", "dns.nextdns.io")  # with the account's own path

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PROFILE: Final = re.compile(r"[a-z0-9]+")
_NO_ALIAS: Final = (
    "clients drop every record but A and AAAA, so an alias (CNAME) would never be answered; name"
    " the node, such as prod-gitlab-bj-001, and the name gets the node's own addresses"
)
_FORMS: Final = "an address, a list of one IPv4 and one IPv6 address, or the name of a node"


@dataclass(frozen=True)
class Target:
    """What a name leads to: fixed addresses, or the addresses that a node has at the time."""

    addresses: tuple[Address, ...] = ()
    node: str | None = None


def target(value: object) -> Target:
    """The target of an extra record, as a stack file has it; ValueError says what is allowed."""
    if isinstance(value, Target):
        return value
    if isinstance(value, Mapping):
        return _described(value)
    if isinstance(value, str):
        found = _address(value)
        return Target(addresses=(found,)) if found else Target(node=_node(value))
    if isinstance(value, list) and value:
        return Target(addresses=_addresses(value))
    raise ValueError(f"must be {_FORMS}")


def _described(value: Mapping[Any, Any]) -> Target:
    """The form {node: NAME}."""
    said = {str(key).lower(): str(entry).lower() for key, entry in value.items()}
    if "cname" in said or said.get("type") == "cname":
        raise ValueError(_NO_ALIAS)
    if value.keys() != {"node"} or not isinstance(value["node"], str):
        raise ValueError(f"must be {_FORMS}, as NAME or {{node: NAME}}")
    return Target(node=_node(value["node"]))


def _addresses(values: list[Any]) -> tuple[Address, ...]:
    found = [_address(value) for value in values]
    families = [address.version for address in found if address]
    if None in found:
        raise ValueError("a list holds addresses only; give the name of a node alone")
    if len(set(families)) < len(families):
        raise ValueError(
            "holds two addresses of one family, of which clients would answer with any one; give"
            " one IPv4 and one IPv6 address, or a name for each"
        )
    return tuple(address for address in found if address)


def _address(value: object) -> Address | None:
    """None for what does not look like an address; ValueError for one of no use."""
    try:
        found = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if found and (found.is_loopback or found.is_unspecified or found.is_multicast):
        raise ValueError("means another host on each client; give an address of one host")
    return found


def _node(value: str) -> str:
    if _LABEL.fullmatch(value) and not value.isdigit():
        return value
    if "." in value and not re.fullmatch(r"[0-9.]+", value):
        raise ValueError(_NO_ALIAS)
    raise ValueError(f"must be {_FORMS}")


def resolver(value: object) -> str:
    """A resolver as clients take it: an address or the URL of one that speaks DNS over HTTPS;
    ValueError says what is allowed."""
    found = _address(value)
    if found in MAGIC:
        raise ValueError("is the clients' own resolver, which would ask itself; name another")
    if found:
        return str(found)
    if isinstance(value, str) and _is_known(value):
        return value
    known = ", ".join([*DOH_HOSTS, *(f"{host}/PROFILE" for host in DOH_PROFILES)])
    raise ValueError(
        "must be an IPv4 or IPv6 address without a port, or https://HOST/dns-query of a host that"
        f" clients know: {known}"
    )


def _is_known(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if scheme != "https":
        return False
    if host in DOH_PROFILES:
        return _PROFILE.fullmatch(path) is not None
    return host in DOH_HOSTS and path == "dns-query"


def named(values: object) -> object:
    """The extra records by name; ValueError for Headscale's own form, a list."""
    if not isinstance(values, list):
        return values
    types = {str(entry.get("type", "")).upper() for entry in values if isinstance(entry, Mapping)}
    reason = f"; {_NO_ALIAS}" if "CNAME" in types else ""
    raise ValueError(
        f"write each as NAME: TARGET, such as grafana: 100.64.2.10; a target is {_FORMS}{reason}"
    )
