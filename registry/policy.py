"""The access policy: checked, set, read back, and every one of them kept."""

from __future__ import annotations

import hashlib
from typing import Any

from registry.server import Headscale
from registry.store import Store
from registry.trouble import RegistryError


def bring(server: Headscale, store: Store, text: str, note: str) -> int | None:
    """Set it unless it is the server's already; its version, None when nothing changed.

    RegistryError when Headscale refuses it (nothing has changed then), or has another one
    afterwards.
    """
    now = server.policy()
    newest = store.policies()[:1]
    if now.strip() and (not newest or newest[0]["sha256"] != _digest(now)):
        # Somebody else's, or an older program's: it can be had back, too.
        store.remember(now, _digest(now), "found on the server")
    if now.strip() == text.strip():
        return None
    server.set_policy(text)
    if server.policy().strip() != text.strip():
        raise RegistryError("read the policy back: it is not the one that was set")
    return store.remember(text, _digest(text), note)


def shown(server: Headscale, store: Store) -> dict[str, Any]:
    """The policy in force, with its version and when it was set, if the history has it."""
    text = server.policy()
    for entry in store.policies():
        if entry["sha256"] == _digest(text):
            return {"text": text, "version": entry["version"], "set_at": entry["set_at"]}
    return {"text": text, "version": None, "set_at": None}


def roll_back(server: Headscale, store: Store, version: int | None) -> dict[str, Any]:
    """Set an earlier one again: `version`, or the last one that was another than today's."""
    current = shown(server, store)
    if version is None:
        earlier = [e for e in store.policies() if e["sha256"] != _digest(current["text"])]
        if not earlier:
            raise RegistryError("there is no earlier policy; `policy history` lists them")
        version = int(earlier[0]["version"])
    bring(server, store, store.policy(version), f"back to {version}")
    return {"version": version, "from": current["version"]}


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()
