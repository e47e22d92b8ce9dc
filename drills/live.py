"""The live Headscale by its own tools, on whichever control host is active; and a crowd in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from drills import access, two_clients
from drills.access import Member
from drills.crowd import Crowd, CrowdError
from lab.world.command import until
from lab.world.host import Host
from lab.world.world import World

FILLERS: Final = "prod-app-bj-"  # names of nodes that only fill a range
_FOLLOWED_WITHIN: Final = 120.0  # s until a client has a new address and an answer


@dataclass(frozen=True)
class Live:
    """One running mesh as its operator asks it."""

    world: World
    outputs: Mapping[str, Any]

    @property
    def url(self) -> str:
        """What clients are told."""
        return str(self.outputs["server_url"])

    @property
    def host(self) -> Host:
        """The control host that runs Headscale now."""
        name = two_clients.active_name(self.world, dict(self.outputs))
        return self.world.host(self.outputs["hosts"][name]["instance"])

    def headscale(self, *words: str) -> Any:
        """What `headscale WORDS` answers."""
        done = self.host.exec(["headscale", "-o", "json", *words])
        return json.loads(done.stdout or "null")

    def registry(self, *words: str) -> Any:
        """What `mesh-registry WORDS` answers."""
        return json.loads(self.host.exec(["mesh-registry", *words], within=300).stdout)

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every node by its name."""
        return {node["given_name"]: node for node in self.headscale("nodes", "list") or []}

    def addresses(self) -> dict[str, str]:
        """Every node's IPv4 address, by its name."""
        found = {name: node["ip_addresses"] for name, node in self.nodes().items()}
        return {name: next(a for a in all_ if ":" not in a) for name, all_ in found.items()}

    def remove_nodes(self, names: Sequence[str], prefix: str | None = None) -> None:
        """Those of these names, or that begin with `prefix`, that are there. Some that were
        ephemeral may go by themselves meanwhile.
        """
        for name, node in self.nodes().items():
            if name in names or (prefix and name.startswith(prefix)):
                line = ["headscale", "nodes", "delete", "--force", "-i", str(node["id"])]
                self.host.exec(line, check=False)
        if left := [name for name in self.nodes() if name in names]:
            raise CrowdError(f"Headscale keeps the nodes {', '.join(left)}")

    def set_policy(self, text: str) -> None:
        """Behind the back of the registry, as an operator in a hurry does."""
        words = ["headscale", "policy", "set", "--file", "/dev/stdin"]
        self.host.exec(words, stdin=text)

    @contextmanager
    def keys(self, members: Sequence[Member]) -> Iterator[dict[str, str]]:
        """A pre-auth key by member, for one join within the hour; deleted afterwards."""
        users = {user["name"]: str(user["id"]) for user in self.headscale("users", "list")}
        made = {}
        for member in members:
            owner = ["--tags", ",".join(member.tags)]
            if member.user:
                owner = ["--user", users[member.user]]
            made[member.name] = self.headscale("preauthkeys", "create", "-e", "1h", *owner)
        try:
            yield {name: key["key"] for name, key in made.items()}
        finally:
            for key in made.values():
                self.headscale("preauthkeys", "delete", "-i", str(key["id"]))

    def join(self, crowd: Crowd, members: Sequence[Member]) -> None:
        """Bring members in, as new nodes of just these names; CrowdError when one stays out."""
        self.remove_nodes([member.name for member in members])
        with self.keys(members) as keys:
            joined = crowd.join(self.url, keys)
        if out := [f"{name}: {j.said}" for name, j in joined.items() if not j.joined]:
            raise CrowdError(f"{len(out)} did not join: {'; '.join(out[:3])}")

    @contextmanager
    def gathered(self, members: Sequence[Member]) -> Iterator[Crowd]:
        """A crowd of these members. Their nodes are deleted afterwards."""
        with Crowd.boot(self.world) as crowd:
            try:
                self.join(crowd, members)
                yield crowd
            finally:
                crowd.end()
                self.remove_nodes([member.name for member in members])

    def await_addresses(self, crowd: Crowd) -> None:
        """Returns when each client has the address that the server knows; DeadlineError."""
        until(
            lambda: not self._behind(crowd),
            within=_FOLLOWED_WITHIN,
            what="clients with their new addresses",
            seen=lambda: f"without: {', '.join(self._behind(crowd)[:5])}",
            poll=1,
        )

    def _behind(self, crowd: Crowd) -> list[str]:
        wanted = self.addresses()
        return [name for name, has in crowd.addresses().items() if has != wanted[name]]


@contextmanager
def placed_cast(live: Live) -> Iterator[Crowd]:
    """The cast of drills/access.py, each at its address of the plan; CrowdError when Jenkins is
    not where the policy has it.
    """
    with live.gathered(access.CAST) as crowd:
        live.registry("addresses", "apply")
        live.await_addresses(crowd)
        if crowd.addresses()[access.JENKINS] != access.JENKINS_ADDRESS:
            has = crowd.addresses()[access.JENKINS]
            raise CrowdError(
                f"{access.JENKINS} has {has}, and {access.JENKINS_ADDRESS} is the policy's host"
                " jenkins-master: the range testing-ci must claim tag:testing and tag:ci"
            )
        yield crowd


def fillers(count: int) -> tuple[Member, ...]:
    """So many servers that do nothing, and belong into one range."""
    return tuple(
        Member("filler", f"{FILLERS}{number}", tags=("tag:prod", "tag:web"))
        for number in range(900, 900 + count)
    )


@dataclass(frozen=True)
class Move:
    """How a change of addresses went. Times in seconds from its beginning; a client that never
    got there has none.
    """

    moved: Mapping[str, str]  # new addresses by client
    pause: float | None  # without a server, as mesh-registry measured it, where it says so
    undo: str  # by which name it can be undone
    address_after: Mapping[str, float | None]  # until `tailscale status` showed it
    ping_after: Mapping[str, float | None]  # and a ping through the tunnel was answered


def planned(live: Live, crowd: Crowd) -> dict[str, str]:
    """The new address of every client of the crowd that the plan would move."""
    moves = live.registry("addresses", "plan")["moves"]
    return {move["node"]: move["to"] for move in moves if move["node"] in crowd.names}


def follow(live: Live, crowd: Crowd, words: Sequence[str], moves: Mapping[str, str]) -> Move:
    """Run `mesh-registry addresses WORDS` while every client of `moves` is watched."""
    targets = partners(crowd, tuple(moves))
    host = live.host
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        line = ["mesh-registry", "addresses", *words]
        job = pool.submit(host.exec, line, within=300)
        seen = crowd.follow(moves, targets, _FOLLOWED_WITHIN)
        said = json.loads(job.result().stdout)

    def since(what: str) -> dict[str, float | None]:
        at = {name: found[what] for name, found in seen.items()}
        return {name: None if end is None else end - began for name, end in at.items()}

    return Move(
        moved=dict(moves),
        pause=said.get("pause_s"),
        undo=str(said.get("undo", "")),
        address_after=since("address"),
        ping_after=since("ping"),
    )


def partners(crowd: Crowd, names: Sequence[str]) -> dict[str, str]:
    """By name, a client of the crowd that it knows, so that it can ping it."""
    status = crowd.status()
    found = {}
    for name in names:
        known = [peer for peer in status[name]["peers"].values() if peer in status]
        if not known:
            raise CrowdError(f"{name} knows no other client of the crowd")
        found[name] = known[0]
    return found
