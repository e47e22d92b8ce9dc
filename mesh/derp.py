"""The full DERP map: one region for each relay, with one node at a fixed address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mesh.settings import Relay, Settings

# What Headscale reads; mesh-relay-map writes it, in its own state folder.
MAP: Final = "/var/lib/mesh-relays/derp.yaml"
STUN_PORT: Final = 3478
DERP_PORT: Final = 443


def full(
    settings: Settings, addresses: Mapping[str, str], certificates: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The map in lower case, as Headscale reads it.

    `addresses` has the public IPv4 address of each relay host by name (derp-sh), `certificates`
    what a relay's own certificate must be ("sha256-raw:" and its SHA-256 in hexadecimal digits),
    for those that no public authority vouches for. KeyError names a relay without an address.
    """
    return {
        "regions": {
            str(relay.region_id): {
                "regionid": relay.region_id,
                "regioncode": relay.code,
                "regionname": relay.name,
                "nodes": [_node(settings, relay, addresses, certificates or {})],
            }
            for relay in settings.relays
        }
    }


def _node(
    settings: Settings, relay: Relay, addresses: Mapping[str, str], certificates: Mapping[str, str]
) -> dict[str, Any]:
    host = f"derp-{relay.code}"
    node = {
        "name": f"{relay.region_id}a",
        "regionid": relay.region_id,
        "hostname": f"{host}.{settings.dns.zone}",
        # With its address here a client needs no DNS to reach a relay.
        "ipv4": addresses[host],
        "ipv6": "none",
        "stunport": STUN_PORT,
        "derpport": DERP_PORT,
        "canport80": True,
    }
    if host in certificates:
        node["certname"] = certificates[host]
    return node


def for_probes(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The map in Go's own spelling, as derpprobe reads it; `whole` is in lower case.

    Without the IPv6 addresses: derpprobe would send its packets to one called "none".
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
