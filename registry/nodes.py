"""The nodes of the mesh, in plain words."""

from __future__ import annotations

from typing import Any

from registry.server import Headscale, seconds


def listed(server: Headscale) -> list[dict[str, Any]]:
    """Every node by name. `user` is None for a tagged one; times are seconds since the epoch,
    `expiry` None for never."""
    return sorted((_plain(node) for node in server.listed("nodes")), key=lambda node: node["name"])


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    addresses = node.get("ip_addresses") or []
    tags = sorted(node.get("tags") or [])
    expiry = seconds(node.get("expiry"))
    return {
        "id": node["id"],
        "name": node.get("given_name") or node["name"],
        "user": None if tags else (node.get("user") or {}).get("name"),
        "tags": tags,
        "ipv4": next((address for address in addresses if ":" not in address), None),
        "ipv6": next((address for address in addresses if ":" in address), None),
        "online": bool(node.get("online")),
        "last_seen": seconds(node.get("last_seen")),
        "expiry": expiry if expiry > 0 else None,
    }
