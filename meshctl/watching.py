"""Whether the mesh serves, asked as clients ask: at every address of the server's name."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import Sequence
from typing import Final

import httpx

from meshctl.stack import Mesh

EACH_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 1.5
HEALTH: Final = "/health"  # Headscale asks its database before it says yes


class Watch:
    """Asks from when the context is entered until it is left. Times are time.monotonic()'s."""

    def __init__(self, mesh: Mesh) -> None:
        self._name = mesh.server_url.removeprefix("https://")
        self._addresses = [mesh.host(name).address for name in mesh.names("control")]
        self._served: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(),
            headers={"Host": self._name},
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )

    async def __aenter__(self) -> Watch:
        self._tasks = [asyncio.create_task(self._ask(one)) for one in self._addresses]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._client.aclose()

    @property
    def served(self) -> Sequence[float]:
        """When any address said that all is well, in order."""
        return sorted(self._served)

    async def _ask(self, address: str) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self._client.get(
                    f"https://{address}{HEALTH}", extensions={"sni_hostname": self._name}
                )
                if answer.status_code == httpx.codes.OK:
                    self._served.append(time.monotonic())
            await asyncio.sleep(EACH_SECONDS)


def outage(served: Sequence[float], fault: float, until: float) -> tuple[float, float]:
    """(seconds from the fault to the end of the longest gap after it, that gap in seconds).

    A gap that lasts until the end counts until there. `served` is in order.
    """
    times = [fault, *(moment for moment in served if moment > fault), until]
    gaps = [(after - before, after - fault) for before, after in itertools.pairwise(times)]
    gap, back = max(gaps)
    return round(back, 2), round(gap, 2)
