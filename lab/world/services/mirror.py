"""The package mirror: a cache of exactly the archives that this machine's apt names.

Files of the pool never change and are kept for good; everything else (InRelease, indices) is
asked for again after a short while. When the archive is out of reach, what is there is served.
"""

from __future__ import annotations

import email.utils
import logging
import os
import tempfile
import threading
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

import httpx

from lab.world import addresses, apt
from lab.world.authority import authority
from lab.world.services import sockets, web
from lab.world.state import State, cache

_log = logging.getLogger(__name__)
_FRESH_SECONDS: Final = 300  # how long an index is served without asking again
_UPSTREAM_SECONDS: Final = 60


class RefusedError(Exception):
    """The archive answered with another status than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the archive answered {status}")
        self.status = status


class Cache:
    """Files of archives by host and path; each is fetched once, whoever asks at once."""

    def __init__(self, folder: Path, schemes: dict[str, str]) -> None:
        self._folder = folder
        self._schemes = schemes  # of each archive, by host name
        self._client = httpx.Client(
            follow_redirects=True, timeout=_UPSTREAM_SECONDS, proxy=apt.proxy() or None
        )
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._asked: dict[Path, float] = {}  # when the archive was last asked, monotonic

    def file(self, host: str, path: str) -> Path:
        """The cached file; RefusedError or httpx.HTTPError when it cannot be had."""
        kept = self._folder / host / path.lstrip("/")
        with self._locks[kept]:
            if not self._is_fresh(kept):
                self._refresh(kept, f"{self._schemes[host]}://{host}{urllib.parse.quote(path)}")
        return kept

    def _is_fresh(self, kept: Path) -> bool:
        if "pool" in kept.parts:
            return kept.exists()
        asked = self._asked.get(kept)
        return asked is not None and time.monotonic() - asked < _FRESH_SECONDS

    def _refresh(self, kept: Path, url: str) -> None:
        try:
            self._fetch(kept, url)
        except (httpx.HTTPError, RefusedError) as error:
            gone = isinstance(error, RefusedError) and error.status < 500
            if gone or not kept.exists():
                raise
            _log.warning("%s: %s; serving the older copy", url, error)
        self._asked[kept] = time.monotonic()

    def _fetch(self, kept: Path, url: str) -> None:
        headers = {"Accept-Encoding": "identity"}  # as the archive has it: hashes must match
        if kept.exists():
            headers["If-Modified-Since"] = email.utils.formatdate(kept.stat().st_mtime, usegmt=True)
        with self._client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 200:
                _keep(kept, answer)
            elif answer.status_code != 304:
                raise RefusedError(answer.status_code)


def _keep(kept: Path, answer: httpx.Response) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=kept.parent, prefix=".part.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for block in answer.iter_raw():
                file.write(block)
        modified = email.utils.parsedate_to_datetime(
            answer.headers.get("Last-Modified") or email.utils.formatdate(usegmt=True)
        )
        os.utime(name, (modified.timestamp(), modified.timestamp()))
        Path(name).replace(kept)
    finally:
        Path(name).unlink(missing_ok=True)


def archives() -> dict[str, str]:
    """The scheme of each archive of this machine, by host name."""
    found = (urllib.parse.urlsplit(source.uri) for source in apt.sources())
    return {parts.netloc.lower(): parts.scheme for parts in found}


def serve(state: State, ready: Callable[[], None]) -> None:
    """Answer until killed."""
    schemes = archives()

    class Handler(_Handler):
        packages = Cache(cache() / "packages", schemes)
        hosts = frozenset(schemes)

    context = web.tls_context(
        authority(), state.services / "certificates", lambda name: name in schemes
    )
    servers = [
        web.Server(sockets.tcp(state, addresses.MIRROR, 80), Handler),
        web.Server(sockets.tcp(state, addresses.MIRROR, 443), Handler, context),
    ]
    threads = [server.start() for server in servers]
    ready()
    for thread in threads:
        thread.join()


class _Handler(web.Handler):
    packages: Cache
    hosts: frozenset[str]

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        inside = not path.endswith("/") and ".." not in PurePosixPath(path).parts
        if self.asked_host not in self.hosts or not inside:
            self.send_text(404, "not a file of an archive of this machine\n")
            return
        try:
            kept = self.packages.file(self.asked_host, path)
            modified = email.utils.formatdate(kept.stat().st_mtime, usegmt=True)
            self.send_file(kept, {"Last-Modified": modified})
        except RefusedError as error:
            self.send_text(error.status, f"{error}\n")
        except (httpx.HTTPError, OSError) as error:
            _log.warning("%s%s: %s", self.asked_host, path, error)
            self.send_text(502, f"the archive cannot be reached: {error}\n")

    do_HEAD = do_GET  # noqa: N815
