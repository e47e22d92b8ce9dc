"""The full DERP map: the relays of each region, at fixed addresses."""

from __future__ import annotations

import hashlib
import ssl
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mesh.settings import Relay, Settings

# What Headscale reads; mesh-relay-map writes it, in its own state folder.
MAP: Final = "/var/lib/mesh-relays/derp.yaml"
STUN_PORT: Final = 3478
DERP_PORT: Final = 443


@dataclass(frozen=True)
class Nodes:
    """What only the clouds know of relay hosts, by name: public IPv4 addresses, what a relay's
    own certificate must be, for those that no public authority vouches for ("sha256-raw:" and
    its SHA-256 in hexadecimal digits), and IPv6 addresses of those that have one."""

    addresses: Mapping[str, str]
    certificates: Mapping[str, str]
    ipv6: Mapping[str, str] = field(default_factory=dict)


def pinned(settings: Settings) -> tuple[str, ...]:
    """The relay hosts that clients know by a hash."""
    return tuple(relay.host for relay in settings.relays if relay.certificate == "pinned")


def certificate_name(pem: str) -> str:
    """How the map names a certificate that vouches for itself."""
    return f"sha256-raw:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()}"


def full(settings: Settings, nodes: Nodes) -> dict[str, Any]:
    """The map in lower case, as Headscale reads it. KeyError names a relay without an address."""
    regions: dict[str, dict[str, Any]] = {}
    for relay in settings.relays:
        region = {
            "regionid": relay.region_id,
            "regioncode": relay.code,
            "regionname": relay.name,
            "nodes": [],
        }
        regions.setdefault(str(relay.region_id), region)["nodes"].append(
            _node(settings, relay, nodes)
        )
    return {"regions": regions}


def _node(settings: Settings, relay: Relay, nodes: Nodes) -> dict[str, Any]:
    node = {
        "name": f"{relay.region_id}{string.ascii_lowercase[relay.number - 1]}",
        "regionid": relay.region_id,
        "hostname": f"{relay.host}.{settings.dns.zone}",
        # With its addresses here a client needs no DNS to reach a relay.
        "ipv4": nodes.addresses[relay.host],
        "ipv6": nodes.ipv6.get(relay.host, "none"),
        "stunport": STUN_PORT,
        "derpport": DERP_PORT,
        "canport80": True,
    }
    if relay.host in nodes.certificates:
        node["certname"] = nodes.certificates[relay.host]
    return node


def for_probes(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The map in Go's own spelling, as derpprobe reads it; `whole` is in lower case.

    Without the IPv6 addresses: ops-1, where it runs, has IPv4 only. To it every relay's IPv6
    would fail, and relays that serve would leave the map.
    """
    return {
        "Regions": {
            number: {
                **{_KEYS[key]: value for key, value in region.items() if key != "nodes"},
                "Nodes": [
                    {_KEYS[key]: value for key, value in node.items() if key != "ipv6"}
                    for node in region["nodes"]
                ],
            }
            for number, region in whole["regions"].items()
        }
    }


_KEYS: Final = {
    key.lower(): key
    for key in (
        *("RegionID", "RegionCode", "RegionName", "Name", "HostName", "CertName"),
        *("IPv4", "STUNPort", "DERPPort", "CanPort80"),
    )
}
