"""`mesh-registry apply`: brings users, policy and keys of the running Headscale to a wanted state.

Runs on both control hosts at once: the active one does the work and leaves the result in the
database, sealed; the other one waits for it and says the same.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from registry import keys, policy, users
from registry.place import Place
from registry.server import Headscale
from registry.store import Kept, Store
from registry.trouble import RegistryError

DONE_WITHIN: Final = 240  # s; a take-over and the first start's migrations fit in
PAUSE: Final = 1  # s between two tries
REFUSALS: Final = 5  # of an active server: it means what it says


def run(place: Place, text: str) -> dict[str, Any]:
    """{"users": {name: id}, "keys": {name: key}, "api_keys": {name: key}}, a secret; without the
    keys that are handed out once.

    `text` is the JSON of mesh.registry.Registry.to_json. A second run with the same text changes
    nothing.
    """
    wanted = json.loads(text)
    _keep_seal(place, wanted["seal"])
    result = _settle(place, wanted, hashlib.sha256(text.encode()).hexdigest())
    shown: dict[str, Any] = {"users": result["users"]}
    for kind in keys.KINDS:
        names = [spec["name"] for spec in wanted[kind.name] if not keys.once(spec)]
        shown[kind.name] = {name: result[kind.name][name]["key"] for name in names}
    return shown


def _settle(place: Place, wanted: dict[str, Any], digest: str) -> Kept:
    """What the database says once the work is done, here or on the other host.

    A take-over or a fail-over of the database in the middle is no error: the work goes on.
    """
    deadline = time.monotonic() + DONE_WITHIN
    last, refusals = "no control host is active", 0
    while time.monotonic() < deadline:
        try:
            with Store(place) as store:
                done, kept = store.read()
                if done == digest:
                    return kept
                if place.active():
                    with store.changing():
                        _bring(Headscale(place), store, wanted, digest)
                    continue
        except RegistryError as trouble:
            last, refusals = str(trouble), refusals + place.active()
            if refusals == REFUSALS:
                raise
        time.sleep(PAUSE)
    raise RegistryError(f"not done within {DONE_WITHIN} s: {last}")


def _bring(server: Headscale, store: Store, wanted: dict[str, Any], digest: str) -> None:
    """The work, on the active host."""
    done, kept = store.read()
    server.run("ask for health", "health")
    ids = users.bring(server, wanted["users"], list(kept.get("users", {})))
    policy.bring(server, store, wanted["policy"], "declared")
    for kind in keys.KINDS:
        records: keys.Records = kept.setdefault(kind.name, {})
        # With the old digest, for the work is not done.
        save = functools.partial(store.write, done, kept)
        keys.bring(server, kind, wanted[kind.name], ids, records, save)
    store.write(digest, {**kept, "users": ids, "groups": wanted["groups"]})


def _keep_seal(place: Place, seal: str) -> None:
    """For later commands on this host; only root may read it. Two may do so at once."""
    descriptor, name = tempfile.mkstemp(prefix=".seal-", dir=place.seal.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(seal + "\n")
        part.replace(place.seal)
    finally:
        part.unlink(missing_ok=True)
