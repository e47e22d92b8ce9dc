"""Headscale's HTTP API as a program of the operator uses it: one key, every address tried."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from drills.mesh import Mesh
from lab.world import netns

# An API call takes about 0.1 s; the entry of the active host lets in a second later (mesh-entry).
TIMEOUT: Final = httpx.Timeout(1.5)  # s
_PATIENT: Final = httpx.Timeout(10, connect=2)  # s; where nothing is measured
_PREFIX: Final = 12  # characters of a key that name it; they may be dashes too


class ApiError(Exception):
    """No address gave a usable answer; says what each of them said."""


@dataclass(frozen=True)
class Api:
    """The API behind some addresses. Calls must come from the operator's network."""

    server_name: str
    ca: str
    key: str = field(repr=False)
    addresses: tuple[str, ...] = ()

    def client(self, timeout: httpx.Timeout = TIMEOUT) -> httpx.Client:
        """Connections that are kept between calls; for one thread."""
        return httpx.Client(
            verify=ssl.create_default_context(cadata=self.ca),
            headers={"Authorization": f"Bearer {self.key}", "Host": self.server_name},
            timeout=timeout,
            trust_env=False,
        )

    def call(
        self, client: httpx.Client, method: str, path: str, address: str, json: Any = None
    ) -> httpx.Response:
        """One answer of one address; httpx.HTTPError when there is none."""
        return client.request(
            method,
            f"https://{address}/api/v1/{path}",
            json=json,
            extensions={"sni_hostname": self.server_name},
        )

    def first(self, method: str, path: str) -> Any:
        """The first good answer of any address; ApiError without one."""
        said = []
        with self.client(_PATIENT) as client:
            for address in self.addresses:
                try:
                    answer = self.call(client, method, path, address)
                except httpx.HTTPError as error:
                    said.append(f"{address}: {error or type(error).__name__}")
                    continue
                if answer.status_code == httpx.codes.OK:
                    return answer.json()
                said.append(f"{address}: {answer.status_code} {answer.text[:80]}")
        raise ApiError("; ".join(said))


@dataclass(frozen=True)
class Registry:
    """What drills ask of the API outside their samplers."""

    mesh: Mesh
    api: Api

    def _ask(self, method: str, path: str) -> Any:
        namespace = self.mesh.world.operator.namespace.name
        return netns.call(namespace, lambda: self.api.first(method, path))

    def users(self) -> set[str]:
        """The names of all users; ApiError."""
        return {user["name"] for user in self._ask("GET", "user")["users"]}

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes; ApiError."""
        found: list[dict[str, Any]] = self._ask("GET", "node")["nodes"]
        return found

    def online(self) -> set[str]:
        """The names of the nodes that Headscale holds a stream of; ApiError."""
        return {node["name"] for node in self.nodes() if node.get("online")}

    def remove_nodes(self, prefix: str) -> None:
        """Remove the nodes whose names begin so; ApiError, also for one that goes by itself
        meanwhile.
        """
        for node in self.nodes():
            if str(node["name"]).startswith(prefix):
                self._ask("DELETE", f"node/{node['id']}")


def create_key(mesh: Mesh, active: str) -> str:
    """A key for a day, made on the active control host."""
    said = mesh.host(active).exec(["headscale", "apikeys", "create", "--expiration", "24h"])
    return said.stdout.strip().splitlines()[-1]


def expire_key(mesh: Mesh, active: str, key: str) -> None:
    """Make a key worthless."""
    prefix = key.removeprefix("hskey-api-")[:_PREFIX]
    mesh.host(active).exec(["headscale", "apikeys", "expire", "--prefix", prefix])


def addresses(mesh: Mesh) -> Sequence[str]:
    """Every address of the server's name, as the lab's name server tells the operator."""
    said = mesh.world.operator.run(["getent", "ahostsv4", mesh.server_name]).stdout
    return sorted({line.split()[0] for line in said.splitlines()})
