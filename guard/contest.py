"""The contest for the one key in etcd that says which host has the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard import lease
from guard.etcd import Etcd, EtcdError
from guard.lease import Lease
from guard.trouble import Trouble

if TYPE_CHECKING:
    from guard.config import Config


class Contest:
    """One host's part in it. `holder` is who had the lease at the last look."""

    def __init__(self, config: Config, etcd: Etcd) -> None:
        self._host, self._timing = config.host, config.timing
        self._key = f"{config.prefix}/holder"
        self._etcd = etcd
        self._trouble = Trouble("competing")
        self.holder = ""

    def enter(self, *, fit: bool) -> Lease | None:
        """The lease when it is this host's now; only looks when the host is not fit to serve."""
        try:
            won = self._look(fit=fit)
        except EtcdError as error:
            self._trouble.is_there(error)
            return None
        self._trouble.is_over()
        return won

    def leave(self, held: Lease) -> None:
        """Another host may have it at once."""
        held.end()
        try:
            self._etcd.revoke(held.id)
        except EtcdError as error:
            self._trouble.is_there(f"the lease will run out by itself: {error}")

    def _look(self, *, fit: bool) -> Lease | None:
        entry = self._etcd.read(self._key)
        self.holder = entry.value if entry else ""
        if entry and entry.value == self._host:
            # Of an earlier guard of this host, which is dead and its server with it; or of a
            # request of this one whose answer was lost.
            self._etcd.revoke(entry.lease)
        elif entry is None and fit:
            return self._try_to_hold()
        return None

    def _try_to_hold(self) -> Lease | None:
        wanted = lease.grant(self._etcd, self._timing)
        revision = self._etcd.create(self._key, self._host, wanted.id)
        if revision is None:
            # Another was first; or an earlier voter did it and its answer was lost, and then the
            # key goes with the lease.
            self._etcd.revoke(wanted.id)
            return None
        wanted.revision, self.holder = revision, self._host
        return wanted
