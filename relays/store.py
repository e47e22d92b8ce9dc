"""The decision and an operator's wishes, as etcd keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from guard.etcd import Etcd
from relays.decision import WISHES, Out, Wishes

PREFIX: Final = "/mesh/relays"
FOREVER: Final = 0  # no lease


class StoreError(Exception):
    """A value in etcd that cannot be used; says which key and what is wrong."""


class Store:
    """What is under one prefix. Every method raises EtcdError, and StoreError when it reads."""

    def __init__(self, etcd: Etcd, prefix: str = PREFIX) -> None:
        self._etcd = etcd
        self._decision, self._override = f"{prefix}/decision", f"{prefix}/override"

    def decision(self) -> dict[str, Out]:
        """Which relays are out, by code; none before the first decision."""
        found = self._read(self._decision).get("out", {})
        try:
            return {
                relay: Out(since=str(out["since"]), why=str(out["why"]))
                for relay, out in found.items()
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise StoreError(f"{self._decision}: out: {error!r}") from None

    def publish(self, out: Mapping[str, Out], at: str) -> None:
        """Another decision."""
        relays = {relay: asdict(entry) for relay, entry in sorted(out.items())}
        self._write(self._decision, {"out": relays, "at": at})

    def wishes(self) -> Wishes:
        """What an operator wishes."""
        found = self._read(self._override)
        relays, limit = found.get("relays", {}), found.get("limit", Wishes().limit)
        if not isinstance(relays, dict) or not set(relays.values()) <= set(WISHES):
            raise StoreError(f"{self._override}: relays: each must be one of {', '.join(WISHES)}")
        if not isinstance(limit, int) or limit < 0:
            raise StoreError(f"{self._override}: limit: {limit!r}: must be a number from 0")
        return Wishes(relays=relays, limit=limit)

    def wish(self, wishes: Wishes) -> None:
        """Other wishes."""
        self._write(self._override, {"relays": dict(wishes.relays), "limit": wishes.limit})

    def _read(self, key: str) -> dict[str, Any]:
        entry = self._etcd.read(key)
        if entry is None:
            return {}
        try:
            found = json.loads(entry.value)
        except ValueError as error:
            raise StoreError(f"{key}: not JSON: {error}") from None
        if not isinstance(found, dict):
            raise StoreError(f"{key}: must be an object")
        return found

    def _write(self, key: str, value: object) -> None:
        self._etcd.put(key, json.dumps(value, sort_keys=True), FOREVER)
