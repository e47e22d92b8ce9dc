"""Writes that never stop: users created through the API, each acknowledged name remembered.

One writer for each address of the server, side by side, as a client that races the addresses:
a silent address costs the other writer nothing.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

import httpx

from drills.api import Api
from drills.sampler import Sampler
from lab.world import netns

EACH: Final = 0.4  # s between two writes of one writer; each costs the server 0.1 s of a CPU
PREFIX: Final = "drill-"


@dataclass(frozen=True)
class Write:
    """One attempt; `answer` is the HTTP status, or the name of what went wrong."""

    name: str
    asked: float
    answered: float
    answer: str

    @property
    def acknowledged(self) -> bool:
        """Whether the server said that it is done."""
        return self.answer == "200"


class Writer(Sampler):
    """Writes through one address."""

    def __init__(self, api: Api, address: str, number: int, namespace: str) -> None:
        super().__init__(f"writer through {address}", EACH)
        self.writes: list[Write] = []
        self._api, self._address, self._number, self._namespace = api, address, number, namespace
        self._count = 0
        self._go = threading.Event()
        self._idle = threading.Event()
        self._client: httpx.Client | None = None

    def prepare(self) -> None:
        netns.enter(self._namespace)
        self._client = self._api.client()
        self._go.set()

    def pause(self) -> None:
        """Write no more; returns when the last answer is in."""
        self._idle.clear()
        self._go.clear()
        self._idle.wait(10)

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def look(self) -> None:
        if not self._go.is_set():
            self._idle.set()
            return
        assert self._client is not None
        self._count += 1
        name = f"{PREFIX}{time.time_ns() // 1_000_000}-{self._number}-{self._count}"
        asked = time.monotonic()
        try:
            said = self._api.call(self._client, "POST", "user", self._address, {"name": name})
            answer = str(said.status_code)
        except httpx.HTTPError as error:
            answer = type(error).__name__
        self.writes.append(Write(name, asked, time.monotonic(), answer))

    def finish(self) -> None:
        self._idle.set()
        if self._client:
            self._client.close()


class Writers:
    """All writers together."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.each = [
            Writer(api, address, number, namespace)
            for number, address in enumerate(api.addresses, 1)
        ]

    def since(self, start: float) -> list[Write]:
        """What was asked from then on, in the order of the answers."""
        found = [write for one in self.each for write in one.writes if write.asked >= start]
        return sorted(found, key=lambda write: write.answered)

    def acknowledged(self, start: float) -> list[float]:
        """When answers of writes asked from then on came, the good ones."""
        return [write.answered for write in self.since(start) if write.acknowledged]

    def pause(self) -> None:
        """Nothing is written any more when this returns."""
        for one in self.each:
            one.pause()

    def forget(self) -> None:
        """Expect no write any more; they must be paused."""
        for one in self.each:
            one.writes.clear()

    def resume(self) -> None:
        """Go on."""
        for one in self.each:
            one.resume()
