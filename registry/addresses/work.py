"""Plans, applies and undoes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from registry import nodes
from registry.addresses import plan, sql
from registry.addresses.config import Config
from registry.addresses.hold import Hold
from registry.addresses.plan import Move, Node, Plan
from registry.server import Headscale
from registry.store import Store
from registry.trouble import RegistryError

TRIES: Final = 3  # somebody may join between the plan and the hold
BACK_SECONDS: Final = 60  # until Headscale must answer again
_PAUSE: Final = 0.1


@dataclass(frozen=True)
class Work:
    """The addresses of one mesh. Everything raises RegistryError."""

    config: Config
    server: Headscale
    store: Store

    def plan(self) -> Plan:
        """Who would move, and who cannot be placed."""
        groups = self.store.read()[1].get("groups", {})
        members = {name: frozenset(users) for name, users in groups.items()}
        return plan.make(self._nodes(), self.config.ranges, members)

    def told(self, planned: Plan) -> dict[str, Any]:
        """A plan as JSON; nodes whose name follows no rule are strays, too."""
        strays = [{"node": stray.node, "why": stray.why} for stray in planned.strays]
        for node in self._nodes():
            if not any(re.fullmatch(name, node.name) for name in self.config.names):
                strays.append({"node": node.name, "why": "its name follows no rule"})
        return {
            "moves": [_as_json(move) for move in planned.moves],
            "strays": strays,
            "full": [{"range": name, "nodes": list(left)} for name, left in planned.full.items()],
        }

    def apply(self) -> dict[str, Any]:
        """Place everybody; how long Headscale was away, and by what it can be undone."""
        return self._repeatedly(lambda: self.plan())

    def undo(self, number: str | None) -> dict[str, Any]:
        """Put the addresses of an earlier change back, the last one's without a number. Nodes that
        have gone or moved since stay where they are."""
        rows = self.store.ask("SELECT id, moves FROM fence.addresses ORDER BY id DESC")
        found = next((moves for name, moves in rows if number in (None, name)), None)
        if found is None:
            known = ", ".join(str(name) for name, _ in rows) or "none"
            raise RegistryError(f"there is no change of addresses {number or ''}; known: {known}")
        return self._repeatedly(lambda: self._back(found))

    def _repeatedly(self, planned: Callable[[], Plan]) -> dict[str, Any]:
        for left in reversed(range(TRIES)):
            wanted = planned()
            told = self.told(wanted)
            if not wanted.moves:
                return {**told, "moved": 0, "pause_s": 0.0, "undo": None}
            try:
                return {**told, **self._move(wanted.moves)}
            except sql.ChangedError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _move(self, moves: Sequence[Move]) -> dict[str, Any]:
        number = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        record = json.dumps([_as_json(move) for move in moves])
        self.store.ask(
            "INSERT INTO fence.addresses (id, moves) VALUES (%s, %s::jsonb)", number, record
        )
        began = time.monotonic()
        try:
            with Hold(self.config.hold_socket) as hold:
                sql.move(self.config, moves, hold)
        except RegistryError:
            self.store.ask("DELETE FROM fence.addresses WHERE id = %s", number)
            raise
        finally:
            self._await_headscale()
        seconds = round(time.monotonic() - began, 2)
        return {"moved": len(moves), "pause_s": seconds, "undo": number}

    def _await_headscale(self) -> None:
        deadline = time.monotonic() + BACK_SECONDS
        while True:
            try:
                self.server.run("ask for health", "health")
            except RegistryError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _nodes(self) -> list[Node]:
        return [_node(entry) for entry in nodes.listed(self.server)]

    def _back(self, moves: Sequence[Mapping[str, str]]) -> Plan:
        now = {node.id: node for node in self._nodes()}
        reverse = tuple(
            Move(
                int(move["id"]),
                move["node"],
                IPv4Address(move["to"]),
                IPv4Address(move["from"]),
                move["range"],
            )
            for move in moves
            if move["from"]
            and int(move["id"]) in now
            and now[int(move["id"])].address == IPv4Address(move["to"])
        )
        return Plan(reverse, (), {})


def _node(entry: Mapping[str, Any]) -> Node:
    return Node(
        id=entry["id"],
        name=entry["name"],
        user=entry["user"] or "",
        tags=frozenset(entry["tags"]),
        address=IPv4Address(entry["ipv4"]) if entry["ipv4"] else None,
    )


def _as_json(move: Move) -> dict[str, Any]:
    return {
        "id": move.id,
        "node": move.node,
        "from": str(move.before) if move.before else None,
        "to": str(move.after),
        "range": move.range,
    }
