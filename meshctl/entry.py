"""The public entry, asked over HTTPS at each address of the server's name as clients ask it."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

from meshctl.stack import Mesh

ANSWER_SECONDS: Final = 1.5


class Entry:
    """Connections to the entry, kept between requests; `close` ends them. With a `key` of the API
    requests may use it."""

    def __init__(self, mesh: Mesh, key: str = "") -> None:
        self._name = mesh.server_url.removeprefix("https://")
        self.addresses = tuple(mesh.host(name).address for name in mesh.names("control"))
        allowed = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(),
            headers={"Host": self._name, **allowed},
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )

    async def ask(
        self, address: str, path: str, method: str = "GET", json: Any = None
    ) -> httpx.Response:
        """The answer of one address. Raises httpx.HTTPError when there is none."""
        return await self._client.request(
            method, f"https://{address}{path}", json=json, extensions={"sni_hostname": self._name}
        )

    async def close(self) -> None:
        """No connection is left."""
        await self._client.aclose()
