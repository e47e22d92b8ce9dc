"""The hold: root on this host asks the active guard to leave the server stopped for a moment.

Nothing else may write the nodes' addresses while Headscale runs: it keeps its own copy of every
node and writes whole rows back. The guard keeps the lease meanwhile, so that no other host starts.

A client of the unix socket sends lines and gets one JSON line for each:

    hold 30     {"held": 30.0} once the server has stopped, or {"refused": why}
    check       {"held": 12.5}, the seconds that are left, or {"over": why}
    release     no answer: the server starts, as it does when the connection ends

A hold ends by itself when its time is over, and whenever the guard must let go of the lease.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import socketserver
import struct
import threading
from pathlib import Path
from typing import Any, Final

from guard import clock

log = logging.getLogger(__name__)

MOST_SECONDS: Final = 30.0  # clients notice a server that is away for longer
BEGIN_SECONDS: Final = 10.0  # a guard that is busy for longer has other worries: ask again
SILENT_SECONDS: Final = 2 * MOST_SECONDS  # of a client; its hold is long over then
_POLL_SECONDS: Final = 0.1  # until it notices that it shall stop
_LINE: Final = 100  # bytes; no request is longer
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class Hold:
    """One hold: asked for by a client's thread, begun and ended by the guard's."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._until: float | None = None
        self._over = ""  # why it has ended or will never begin

    # For the guard

    def begin(self) -> None:
        """The server has stopped."""
        with self._lock:
            self._until = clock.now() + self.seconds
        self._begun.set()

    def end(self, why: str) -> None:
        """The server may start from now on; the first reason stays."""
        with self._lock:
            self._over = self._over or why
        self._begun.set()

    @property
    def wanted(self) -> bool:
        """Whether the client still wants it and its time is not over."""
        if self.left() <= 0 and not self._over:
            self.end("its time is over")
        return not self._over

    # For both

    def left(self) -> float:
        """Seconds until it ends by itself; all of them before it began."""
        until = self._until
        return self.seconds if until is None else max(0.0, until - clock.now())

    # For the client

    def wait(self) -> None:
        """Until it has begun or never will."""
        if not self._begun.wait(BEGIN_SECONDS):
            self.end("the guard did not stop the server in time")

    def word(self) -> dict[str, Any]:
        """What the client is told: as long as it is "held", no server has been started."""
        with self._lock:
            return {"over": self._over} if self._over else {"held": round(self.left(), 3)}


class Door:
    """Where holds are asked for; closed until the guard is active and serves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._closed = "this host is not the active one"
        self._hold: Hold | None = None
        self._listener: _Listener | None = None

    def start(self) -> None:
        """Listen from now on; without a place for the socket there are no holds, but service."""
        try:
            self._path.unlink(missing_ok=True)
            listener = _Listener(str(self._path), _Client)
            self._path.chmod(0o660)  # who may enter, root of this host, is checked by SO_PEERCRED
        except OSError as error:
            log.warning("hold: %s: %s", self._path, error)
            return
        listener.door, self._listener = self, listener
        threading.Thread(
            target=listener.serve_forever, args=(_POLL_SECONDS,), name="hold", daemon=True
        ).start()

    def stop(self) -> None:
        """Nobody may ask any more."""
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()

    def open(self) -> None:
        """Holds may be asked for."""
        with self._lock:
            self._closed = ""

    def close(self, why: str) -> None:
        """No more, and one that is asked for or has begun is over."""
        with self._lock:
            self._closed = why
            if self._hold:
                self._hold.end(why)

    @property
    def asked(self) -> Hold | None:
        """A hold that somebody wants."""
        hold = self._hold
        return hold if hold and hold.wanted else None

    def enter(self, seconds: float) -> Hold | str:
        """A hold that the guard will soon begin, or why there will be none."""
        with self._lock:
            if self._closed:
                return self._closed
            if self._hold and self._hold.wanted:
                return "somebody else holds it"
            self._hold = Hold(seconds)
            return self._hold


class _Listener(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    door: Door

    def handle_error(self, request: object, client_address: object) -> None:
        log.exception("hold: a client")


class _Client(socketserver.StreamRequestHandler):
    timeout = SILENT_SECONDS
    server: _Listener

    def handle(self) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            entered = self._enter()
            if isinstance(entered, str):
                self._say({"refused": entered})
                return
            try:
                self._follow(entered)
            finally:
                entered.end("the client let go")

    def _enter(self) -> Hold | str:
        uid = _CREDENTIALS.unpack(
            self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )[1]
        # The guard's own user could as well send it signals.
        if uid not in (0, os.geteuid()):
            return "only root may hold"
        words = self._words()
        try:
            seconds = float(words[1]) if words[0] == "hold" else 0.0
        except (IndexError, ValueError):
            seconds = 0.0
        if not 0 < seconds <= MOST_SECONDS:
            return f"say hold and up to {MOST_SECONDS:g} seconds"
        return self.server.door.enter(seconds)

    def _follow(self, hold: Hold) -> None:
        hold.wait()
        word = hold.word()
        self._say({"refused": word["over"]} if "over" in word else word)
        while "held" in word and self._words() == ["check"]:
            word = hold.word()
            self._say(word)

    def _words(self) -> list[str]:
        return self.rfile.readline(_LINE).decode("utf-8", "replace").split()

    def _say(self, what: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(what).encode() + b"\n")
