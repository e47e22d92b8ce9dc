"""The lease: the right to run the server, until a deadline that never errs on the late side."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guard import clock
from guard.etcd import Etcd, EtcdError, Trust
from guard.trouble import Trouble, log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.config import Timing


@dataclass
class Lease:
    """A lease that is being renewed at every voter side by side, so that a voter that is silent
    costs no time.

    `since` is when the last renewal that succeeded was *sent*: etcd counts from when it came.
    """

    id: int
    timing: Timing
    since: float
    revision: int = 0  # of the key that it holds; grows with every change of hands
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self, endpoints: Sequence[str], trust: Trust) -> None:
        """Renew until `end`."""
        for endpoint in endpoints:
            thread = threading.Thread(
                target=self._renew, args=(Etcd([endpoint], trust),), name=endpoint, daemon=True
            )
            thread.start()

    def end(self) -> None:
        """Stop renewing; it is lost unless somebody revokes it."""
        self._over.set()

    def remaining(self) -> float:
        """Seconds until the server must be dead; 0 and less: now."""
        if self._over.is_set():
            return 0.0
        return self.since + self.timing.lease - self.timing.margin - clock.now()

    def held(self) -> bool:
        """Whether nobody else can hold it for the next `margin` seconds."""
        return self.remaining() > 0

    def _renew(self, etcd: Etcd) -> None:
        trouble = Trouble("renewal")
        while not self._over.wait(self.timing.renew):
            sent = clock.now()
            try:
                alive = etcd.renew(self.id)
            except EtcdError as error:
                trouble.is_there(error)
                continue
            trouble.is_over()
            if alive:
                # Two threads at once may set it back by one renewal: that only errs early.
                self.since = max(self.since, sent)
            elif not self._over.is_set():
                log.warning("etcd has ended the lease")
                self._over.set()


def grant(etcd: Etcd, timing: Timing) -> Lease:
    """A new lease that nothing hangs on yet. Raises EtcdError."""
    sent = clock.now()
    return Lease(etcd.grant(timing.lease), timing, sent)
