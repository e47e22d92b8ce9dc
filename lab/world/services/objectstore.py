"""The object store: public objects at the clouds' own virtual-hosted URLs, over HTTPS."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax import saxutils

from lab.world import addresses
from lab.world.authority import authority
from lab.world.services import sockets, web
from lab.world.state import State, read_json


def serve(state: State, ready: Callable[[], None]) -> None:
    """Answer until killed."""

    class Handler(_Handler):
        buckets = state.buckets
        objects = state.objects

    def knows(name: str) -> bool:
        return name in read_json(state.buckets, {})

    context = web.tls_context(authority(), state.services / "certificates", knows)
    servers = [
        web.Server(sockets.tcp(state, address, port), Handler, tls)
        for address in (addresses.OBJECTS, addresses.OBJECTS_INTERNAL)
        for port, tls in ((443, context), (80, None))
    ]
    threads = [server.start() for server in servers]
    ready()
    for thread in threads:
        thread.join()


class _Handler(web.Handler):
    buckets: Path
    objects: Path

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        bucket: dict[str, Any] | None = read_json(self.buckets, {}).get(self.asked_host)
        key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path.removeprefix("/"))
        if bucket is None:
            self._refuse(404, "NoSuchBucket", "The specified bucket does not exist.")
            return
        found = bucket["objects"].get(key)
        if not (found["public"] if found else bucket["public"]):
            self._refuse(403, "AccessDenied", "You have no right to access this object.")
        elif found is None:
            self._refuse(404, "NoSuchKey", "The specified key does not exist.")
        else:
            headers = {"Content-Type": found["content_type"], "ETag": f'"{found["digest"]}"'}
            self.send_file(self.objects / found["digest"], headers)

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self, status: int, code: str, message: str) -> None:
        said = f"<Code>{code}</Code><Message>{saxutils.escape(message)}</Message>"
        self.send_text(status, f'<?xml version="1.0"?><Error>{said}</Error>', "application/xml")
