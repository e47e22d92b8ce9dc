"""What the guard keeps an eye on, each in a thread of its own: the database, the other host,
the server's answers. A slow answer there delays nothing here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from guard import clock
from guard.etcd import Etcd, EtcdError
from guard.fence import Fence, FenceError, Holder, StaleTokenError
from guard.server import Probe
from guard.trouble import Trouble

log = logging.getLogger(__name__)

EACH_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 2.0  # a host whose last good look is older does not say that it is fine
UP: Final = "database up"
DOWN: Final = "database down"


class _Watch:
    """A look every second until `end`; then `close`."""

    def __init__(self, name: str) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """No look begins any more."""
        self._over.set()

    def join(self, seconds: float) -> None:
        """Wait for a look under way, but not longer than that."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self.look()
            if self._over.wait(EACH_SECONDS):
                self.close()
                return

    def look(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to give back, for most."""


@dataclass(frozen=True)
class Sight:
    """Whom the database lets in, and when it was *asked*."""

    holder: Holder
    asked: float


class DatabaseWatch(_Watch):
    """Whether this host reaches the primary; `sight` is from the last look that succeeded.

    While the host is the holder, each look also ends what the others' Headscale has open there.
    """

    def __init__(self, fence: Fence, host: str) -> None:
        super().__init__("database")
        self._fence, self._host = fence, host
        self.sight: Sight | None = None
        self.up = False
        self.changed = clock.now()  # when `up` last changed

    def look(self) -> None:
        asked = clock.now()
        try:
            self.sight = Sight(self._fence.holder(), asked)
            if self.sight.holder.host == self._host and self._fence.sweep():
                log.warning("database: ended sessions of another host")
        except StaleTokenError:
            self._set(up=True)  # another took the fence between the two questions
        except FenceError as error:
            self._set(up=False, why=str(error))
        else:
            self._set(up=True)

    def close(self) -> None:
        self._fence.close()

    def surely_up(self) -> bool:
        """Whether it answered lately; a look that still waits says nothing good."""
        sight = self.sight
        return self.up and sight is not None and clock.now() - sight.asked < FRESH_SECONDS

    def down_for(self) -> float:
        """Seconds since it was last reached; 0 while it is."""
        return 0.0 if self.up else clock.now() - self.changed

    def _set(self, *, up: bool, why: str = "") -> None:
        if up != self.up:
            log.log(logging.INFO if up else logging.WARNING, "database: %s", why or "reached")
            self.up, self.changed = up, clock.now()


class PeerWatch(_Watch):
    """Tells the other host what this one sees of the database, and reads what it sees.

    The word hangs on a lease, so that a host that has died says nothing.
    """

    def __init__(
        self, etcd: Etcd, own_key: str, peer_keys: list[str], seconds: int, up: Callable[[], bool]
    ) -> None:
        super().__init__("peer")
        self._etcd, self._own, self._peers = etcd, own_key, peer_keys
        self._seconds, self._up = seconds, up
        self._lease = 0
        self._said = ""
        self._up_since: float | None = None  # when a peer first said so, of a row
        self._trouble = Trouble("telling the other host")

    @property
    def peer_up(self) -> bool:
        """Whether another host says that it reaches the database."""
        return self._up_since is not None

    def up_for(self) -> float:
        """Seconds that another host has been saying so; 0 when none does."""
        since = self._up_since  # once: another thread asks
        return 0.0 if since is None else clock.now() - since

    def look(self) -> None:
        try:
            self._tell()
            found = [self._etcd.read(key) for key in self._peers]
        except EtcdError as error:
            self._up_since = None
            self._trouble.is_there(error)
        else:
            if not any(entry is not None and entry.value == UP for entry in found):
                self._up_since = None
            elif self._up_since is None:
                self._up_since = clock.now()
            self._trouble.is_over()

    def close(self) -> None:
        """A guard that has ended is no other host to wait for."""
        try:
            self._etcd.revoke(self._lease)
        except EtcdError as error:
            self._trouble.is_there(error)

    def _tell(self) -> None:
        word = UP if self._up() else DOWN
        if not (self._lease and self._etcd.renew(self._lease)):
            self._lease, self._said = self._etcd.grant(self._seconds), ""
        if word != self._said:
            self._etcd.put(self._own, word, self._lease)
            self._said = word


class ServerWatch(_Watch):
    """When the server last answered; 0 when it has not since `begin`."""

    def __init__(self, probe: Probe) -> None:
        super().__init__("server")
        self._probe = probe
        self.answered = 0.0
        self._begun = 0.0

    def begin(self) -> None:
        """Forget the answers of an earlier server."""
        self._begun = clock.now()
        self.answered = 0.0

    def fresh(self, within: float) -> bool:
        """Whether it answered within so many seconds."""
        return bool(self.answered) and clock.now() - self.answered < within

    def look(self) -> None:
        asked = clock.now()
        if self._probe.answers() and asked >= self._begun:
            self.answered = clock.now()
