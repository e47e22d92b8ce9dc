"""Writes through the API while something is broken: is each that was acknowledged there afterwards?

A write is a user of Headscale with a name of its own; no policy knows it, so no node hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx

from meshctl import control, show
from meshctl.entry import Entry
from meshctl.ssh import Session
from meshctl.stack import Mesh
from meshctl.trouble import MeshctlError

PREFIX: Final = "meshctl-drill-"
EACH_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 30.0  # until an API that has just come back answers every call
LOOK_SECONDS: Final = 0.5
CREATE_KEY: Final = "sudo headscale apikeys create --expiration 1h"
EXPIRE_KEY: Final = "sudo headscale apikeys expire --prefix="
_KIND: Final = "hskey-api-"
_PREFIX_LENGTH: Final = 12  # of what names a key and opens nothing; it may begin with a dash
_USERS: Final = "/api/v1/user"


@contextlib.asynccontextmanager
async def key(session: Session) -> AsyncIterator[str]:
    """A key of the API for one drill, worthless after it and within the hour in any case: those
    that policy/keys.yaml declares are other people's. Raises MeshctlError."""
    name = await control.active(session)
    made = (await session.ask(name, CREATE_KEY)).strip().splitlines()[-1:]
    if not made or not made[0].startswith(_KIND):
        raise MeshctlError(f"nothing was broken: {name} makes no key of the API: no {_KIND}…")
    try:
        yield made[0]
    finally:
        prefix = made[0].removeprefix(_KIND)[:_PREFIX_LENGTH]
        try:
            await session.ask(await control.active(session), EXPIRE_KEY + prefix)
        except MeshctlError as error:
            show.note(f"the drill's API key {prefix} works until the hour is over: {error}")


class Writes:
    """Writes from when the context is entered until `stop`, at every address side by side: a
    silent one costs the others nothing. When the context is left, what was written is removed."""

    def __init__(self, mesh: Mesh, api_key: str) -> None:
        self._entry = Entry(mesh, api_key)
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._began = int(time.time())
        self.acknowledged: set[str] = set()
        self.said = "no answer"  # to the last write that was refused

    async def __aenter__(self) -> Writes:
        numbered = enumerate(self._entry.addresses, 1)
        self._tasks = [asyncio.create_task(self._write(n, one)) for n, one in numbered]
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
            await self._remove()
        finally:
            await self._entry.close()

    async def stop(self) -> None:
        """Returns when the last answer is in."""
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def missing(self) -> set[str]:
        """The acknowledged writes that are not there. Raises MeshctlError when nobody tells."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            users = await self._users()
            lost = self.acknowledged - {user["name"] for user in users or []}
            if not lost or time.monotonic() > until:
                break
            await asyncio.sleep(LOOK_SECONDS)
        if users is None:
            raise MeshctlError(f"the API does not tell which users there are: {self.said}")
        return lost

    async def _write(self, number: int, address: str) -> None:
        count = 0
        while not self._over.is_set():
            count += 1
            name = f"{PREFIX}{self._began}-{number}-{count}"
            if await self._ask(address, _USERS, "POST", {"name": name}) is not None:
                self.acknowledged.add(name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), EACH_SECONDS)

    async def _remove(self) -> None:
        """Also what an earlier drill had to leave. What stays is told, and in nobody's way."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            users = await self._users()
            ours = [user for user in users or [] if user["name"].startswith(PREFIX)]
            if users is not None and not ours:
                return
            for user in ours:
                await self._first(f"{_USERS}/{user['id']}", "DELETE")
            await asyncio.sleep(LOOK_SECONDS)
        show.note(f"users {PREFIX}* are left, the next drill removes them: {self.said}")

    async def _users(self) -> list[dict[str, Any]] | None:
        told = await self._first(_USERS)
        return None if told is None else list(told["users"])

    async def _first(self, path: str, method: str = "GET") -> Any:
        """The first good answer of any address, or None."""
        for address in self._entry.addresses:
            told = await self._ask(address, path, method)
            if told is not None:
                return told
        return None

    async def _ask(self, address: str, path: str, method: str = "GET", json: Any = None) -> Any:
        """The JSON of a good answer, or None; `said` tells why."""
        try:
            answer = await self._entry.ask(address, path, method, json)
            if answer.status_code == httpx.codes.OK:
                return answer.json()
            self.said = f"{address}: HTTP status {answer.status_code}"
        except (httpx.HTTPError, ValueError) as error:
            self.said = f"{address}: {error or type(error).__name__}"
        return None
