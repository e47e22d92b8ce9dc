"""Tags by node name: what the declared patterns say, and what the nodes have."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from registry import nodes
from registry.server import Headscale
from registry.trouble import RegistryError


def plan(
    found: Sequence[Mapping[str, Any]], patterns: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What would change: a node gets the tags of every pattern that fits its name.

    `converts` says that a person's device would become a tagged node, which cannot be undone
    without joining anew; `unmatched` are tagged nodes that no pattern knows.
    """
    changes, unmatched = [], []
    for node in found:
        wanted = sorted({tag for p in patterns if _fits(node, p) for tag in p["tags"]})
        if not wanted:
            unmatched += [node["name"]] if node["tags"] else []
        elif wanted != sorted(node["tags"]):
            change = {"node": node["name"], "id": node["id"], "from": node["tags"], "to": wanted}
            changes.append({**change, "converts": not node["tags"]})
    return {"changes": changes, "unmatched": unmatched}


def apply(server: Headscale, patterns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Do what `plan` says; a node that has gone meanwhile is left out, and told."""
    planned = plan(nodes.listed(server), patterns)
    gone = []
    for change in planned["changes"]:
        words = (
            "nodes",
            "tag",
            "--identifier",
            str(change["id"]),
            "--tags",
            ",".join(change["to"]),
        )
        try:
            server.run(f"tag {change['node']}", *words)
        except RegistryError as trouble:
            if "not found" not in str(trouble):
                raise
            gone.append(change["node"])
    return {**planned, "gone": gone}


def _fits(node: Mapping[str, Any], pattern: Mapping[str, Any]) -> bool:
    return fnmatch.fnmatchcase(node["name"], pattern["pattern"])
