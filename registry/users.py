"""The users of the mesh: those that are declared exist, those that no longer are go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registry import nodes
from registry.server import Headscale
from registry.trouble import RegistryError


def bring(
    server: Headscale, wanted: Sequence[Mapping[str, Any]], earlier: Sequence[str]
) -> dict[str, int]:
    """Every wanted user's id by name. `earlier` are the users that were wanted the last time:
    those that no longer are go, unless one owns nodes. Users that were never declared stay.

    RegistryError names each user that owns nodes with its nodes; nothing is changed then.
    """
    names = [user["name"] for user in wanted]
    known = server.users()
    leaving = [name for name in earlier if name not in names and name in known]
    _refuse_owners(server, leaving)
    for user in wanted:
        if user["name"] not in known:
            options = ["--display-name", user["display"]] if user.get("display") else []
            server.run(f"create user {user['name']}", "users", "create", user["name"], *options)
    for name in leaving:
        words = ("users", "destroy", "--name", name, "--force")
        server.run(f"remove user {name}", *words)
    known = server.users()
    return {name: known[name] for name in names}


def listed(server: Headscale, declared: Sequence[str]) -> list[dict[str, Any]]:
    """Every user with the names of its nodes."""
    owned = _owned(server)
    return [
        {"name": name, "id": number, "declared": name in declared, "nodes": owned.get(name, [])}
        for name, number in sorted(server.users().items())
    ]


def _refuse_owners(server: Headscale, leaving: Sequence[str]) -> None:
    owned = _owned(server) if leaving else {}
    faults = [
        f"user {name} still owns {', '.join(owned[name])}; remove or move them first, or declare"
        " the user again"
        for name in leaving
        if name in owned
    ]
    if faults:
        raise RegistryError("; ".join(faults))


def _owned(server: Headscale) -> dict[str, list[str]]:
    """The names of each user's nodes; a tagged node is nobody's."""
    found: dict[str, list[str]] = {}
    for node in nodes.listed(server):
        if node["user"]:
            found.setdefault(node["user"], []).append(node["name"])
    return found
