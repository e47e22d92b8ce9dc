"""Whether the mesh serves, asked as clients ask: at every address of the server's name."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence
from typing import Final

import httpx

from meshctl.entry import Entry
from meshctl.stack import Mesh

EACH_SECONDS: Final = 0.2
HEALTH: Final = "/health"  # Headscale asks its database before it says yes


class Watch:
    """Asks from when the context is entered until it is left. Times are time.monotonic()'s."""

    def __init__(self, mesh: Mesh) -> None:
        self._entry = Entry(mesh)
        self._served: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Watch:
        self._tasks = [asyncio.create_task(self._ask(one)) for one in self._entry.addresses]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._entry.close()

    @property
    def served(self) -> Sequence[float]:
        """When any address said that all is well, in order."""
        return sorted(self._served)

    async def _ask(self, address: str) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self._entry.ask(address, HEALTH)
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
