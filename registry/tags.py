"""Tags by node name: what the declared patterns say, and what the nodes have."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from registry import nodes
from registry.server import Headscale
from registry.trouble import RegistryError


def plan(
    found: Sequence[Mapping[str, Any]], patterns: Sequence[Mapping[str, Any]], *, convert: bool
) -> dict[str, Any]:
    """What would change: a node gets the tags of every pattern that fits its name.

    A node without tags is a user's: tags would take it away from the user, which only joining
    anew undoes. So it changes with `convert` only, and is told as `untagged` otherwise.
    `unmatched` are tagged nodes that no pattern knows.
    """
    changes, untagged, unmatched = [], [], []
    for node in found:
        wanted = sorted({tag for p in patterns if _fits(node, p) for tag in p["tags"]})
        if not wanted:
            unmatched += [node["name"]] if node["tags"] else []
        elif not node["tags"] and not convert:
            untagged.append(node["name"])
        elif wanted != sorted(node["tags"]):
            changes.append(
                {"node": node["name"], "id": node["id"], "from": node["tags"], "to": wanted}
            )
    return {"changes": changes, "untagged": untagged, "unmatched": unmatched}


def apply(
    server: Headscale, patterns: Sequence[Mapping[str, Any]], *, convert: bool
) -> dict[str, Any]:
    """Do what `plan` says; a node that has gone meanwhile is left out, and told."""
    planned = plan(nodes.listed(server), patterns, convert=convert)
    gone = []
    for change in planned["changes"]:
        number, wanted = str(change["id"]), ",".join(change["to"])
        try:
            server.run(
                f"tag {change['node']}", "nodes", "tag", "--identifier", number, "--tags", wanted
            )
        except RegistryError as trouble:
            if "not found" not in str(trouble):
                raise
            gone.append(change["node"])
    return {**planned, "gone": gone}


def _fits(node: Mapping[str, Any], pattern: Mapping[str, Any]) -> bool:
    return fnmatch.fnmatchcase(node["name"], pattern["pattern"])
