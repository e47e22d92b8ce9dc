"""What a load needs of the server that it is put on, and what it makes there and removes again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from meshctl.load.plan import MARK, Kind

DELETE: Final = ("nodes", "delete", "--force", "--identifier")
# Headscale waits half a second for more to do; one after another, a thousand would take minutes.
DELETED_AT_ONCE: Final = 16
# A shell's, with the numbers of nodes as its words: one login for all of them.
# A server that is busy with a thousand nodes may take longer than the five seconds of the command.
DELETE_ALL: Final = (
    f"printf '%s\\n' \"$@\" | xargs --max-procs={DELETED_AT_ONCE} --max-args=1"
    f" env HEADSCALE_CLI_TIMEOUT=60s headscale {' '.join(DELETE)} >/dev/null"
)


class Server(Protocol):
    """What a load needs of the server that it is put on."""

    @property
    def url(self) -> str:
        """What nodes are told."""

    def headscale(self, *words: str, stdin: str = "") -> str:
        """What `headscale WORDS` says."""

    def delete_nodes(self, ids: Sequence[str]) -> None:
        """Delete nodes by their numbers."""


# What is made on a server, and removed again


def ask(server: Server, *words: str) -> Any:
    """What `headscale -o json WORDS` answers."""
    return json.loads(server.headscale("-o", "json", *words) or "null")


def set_policy(server: Server, text: str) -> None:
    """Put a policy in force."""
    server.headscale("policy", "set", "--file", "/dev/stdin", stdin=text)


def make_users(server: Server, kinds: Sequence[Kind]) -> None:
    """The users who own nodes, where they are not there yet."""
    there = {user["name"] for user in ask(server, "users", "list") or []}
    for name in sorted({kind.user for kind in kinds if kind.user} - there):
        server.headscale("users", "create", name)


@contextmanager
def keys(server: Server, kinds: Sequence[Kind]) -> Iterator[dict[str, str]]:
    """A reusable pre-auth key by kind, worthless after two hours; deleted before, at the end."""
    users = {user["name"]: str(user["id"]) for user in ask(server, "users", "list") or []}
    made = {}
    for kind in kinds:
        owner = ["--user", users[kind.user]] if kind.user else ["--tags", ",".join(kind.tags)]
        words = ["preauthkeys", "create", "--reusable", "--expiration", "2h", *owner]
        made[kind.name] = ask(server, *words)
    try:
        yield {name: str(key["key"]) for name, key in made.items()}
    finally:
        for key in made.values():
            server.headscale("preauthkeys", "delete", "--id", str(key["id"]))


def nodes(server: Server) -> dict[str, dict[str, Any]]:
    """Every node by its name."""
    return {node["given_name"]: node for node in ask(server, "nodes", "list") or []}


def remove_nodes(server: Server, names: Sequence[str] | None = None) -> int:
    """Delete the virtual nodes of these names, or all of them; how many they were."""
    gone = [
        node
        for name, node in nodes(server).items()
        if MARK in name and (names is None or name in names)
    ]
    if gone:
        server.delete_nodes([str(node["id"]) for node in gone])
    return len(gone)
