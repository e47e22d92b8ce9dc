"""What a guard does: compete, take over, hold, give up. One thread, one decision at a time."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from guard import clock, lease
from guard.config import Config
from guard.etcd import Etcd, EtcdError, Trust
from guard.fence import Fence, FenceError, StaleTokenError
from guard.lease import Lease
from guard.report import Report, Status
from guard.server import Probe, Server
from guard.watch import DatabaseWatch, PeerWatch, ServerWatch

log = logging.getLogger(__name__)

TICK: Final = 0.1  # s between two looks at everything


class StoppedError(Exception):
    """Somebody asked the guard to end."""


class LostError(Exception):
    """The lease may soon be another's: the server must die now."""


class GivenUpError(Exception):
    """The other host should have a turn; `rest` says how long this one holds back."""

    def __init__(self, reason: str, rest: float = 0.0) -> None:
        super().__init__(reason)
        self.rest = rest


class Duty:
    """The guard of one host."""

    def __init__(self, config: Config, report: Report) -> None:
        self._host, self._timing, self._report = config.host, config.timing, report
        self._endpoints = config.endpoints
        self._trust = Trust(ca=config.ca, certificate=config.certificate, key=config.key)
        self._etcd = Etcd(config.endpoints, self._trust)
        self._key = f"{config.prefix}/holder"
        self._server = Server(config.command, config.timing.stop)
        password = Path(config.password_file)
        self._fence = Fence(config.database, password)
        self._worker = ThreadPoolExecutor(1, "fence")
        self._database = DatabaseWatch(Fence(config.database, password))
        self._answers = ServerWatch(Probe(config.probe, config.probe_name, config.ca))
        self._peer = PeerWatch(
            Etcd(config.endpoints, self._trust),
            f"{config.prefix}/guards/{config.host}",
            [f"{config.prefix}/guards/{peer}" for peer in config.peers],
            config.timing.lease,
            lambda: self._database.up,
        )
        self._stop = threading.Event()
        self._lease: Lease | None = None
        self._ends: list[float] = []  # of the server, within the crash window
        self._rest_until = 0.0

    def stop(self) -> None:
        """Hand over and end; may be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Returns when it was stopped."""
        watches = (self._database, self._peer, self._answers)
        for watch in watches:
            watch.start()
        try:
            while True:
                self._turn(self._compete())
        except StoppedError:
            self._report.enter("stopping", "asked to end")
        finally:
            for watch in watches:
                watch.end()

    def refresh(self, status: Status) -> None:
        """What changes by itself, for the report."""
        held = self._lease
        status.lease_age_s = round(clock.now() - held.since, 2) if held else None
        status.database = self._database.up
        status.server_pid = self._server.pid
        status.server_answers = self._answers.fresh(self._timing.hung)

    # Competing

    def _compete(self) -> Lease:
        """The lease, once it is this host's."""
        said = ""
        while True:
            self._pause(2 * TICK)
            try:
                won = self._try_once() if self._fit() else None
            except EtcdError as error:
                if str(error) != said:
                    log.warning("competing: %s", error)
                said = str(error)
                continue
            said = ""
            if won:
                return won

    def _fit(self) -> bool:
        """Whether this host could serve: a server without its database serves nobody."""
        return self._database.up and clock.now() >= self._rest_until

    def _try_once(self) -> Lease | None:
        entry = self._etcd.read(self._key)
        self._report.status.holder = entry.value if entry else ""
        if entry and entry.value == self._host:
            # Of an earlier guard of this host; it is dead, and systemd killed its server with it.
            self._etcd.revoke(entry.lease)
        elif entry is None:
            return self._try_to_hold()
        return None

    def _try_to_hold(self) -> Lease | None:
        wanted = lease.grant(self._etcd, self._timing)
        revision = self._etcd.create(self._key, self._host, wanted.id)
        if revision is None:
            self._etcd.revoke(wanted.id)
            return None
        wanted.revision = revision
        return wanted

    # Holding

    def _turn(self, held: Lease) -> None:
        """Take over and serve until the lease must go; then let it go."""
        self._lease, self._report.status.holder = held, self._host
        held.start(self._endpoints, self._trust)
        try:
            self._report.enter("taking", "the lease is ours")
            self._take(held)
            self._serve(held)
        except LostError as reason:
            self._server.kill()
            self._report.enter("standby", str(reason))
        except GivenUpError as reason:
            self._server.stop()
            self._rest_until = clock.now() + reason.rest
            self._report.enter("standby", str(reason))
        finally:
            self._server.stop()
            held.end()
            self._release(held)

    def _release(self, held: Lease) -> None:
        self._lease, self._report.status.token = None, None
        try:
            self._etcd.revoke(held.id)
        except EtcdError as error:
            log.warning("the lease will run out by itself: %s", error)

    def _take(self, held: Lease) -> None:
        """Fence the other host off. Raises GivenUpError when the database does not let us."""
        until = clock.now() + self._timing.database
        while True:
            work = self._worker.submit(self._fence.take, held.revision)
            while not work.done():
                self._check(held)
            try:
                seconds = work.result()
            except StaleTokenError as error:
                raise GivenUpError(f"fence: {error}", self._timing.rest) from None
            except FenceError as error:
                log.warning("fence: %s", error)
                if clock.now() > until:
                    raise GivenUpError(f"fence: {error}", self._timing.lease) from None
                self._check(held)
            else:
                self._report.took_over(held.revision, seconds)
                return

    def _serve(self, held: Lease) -> None:
        self._start_server()
        self._report.enter("active", "the fence is ours")
        while True:
            self._check(held)
            self._see_to_the_server()
            self._see_to_the_fence(held)
            self._see_to_the_database()

    def _check(self, held: Lease) -> None:
        """One tick. Raises StoppedError or LostError."""
        self._pause(TICK)
        if not held.held():
            raise LostError("the lease was not renewed in time")

    def _pause(self, seconds: float) -> None:
        self._report.beat()
        if self._stop.wait(seconds):
            raise StoppedError

    def _start_server(self) -> None:
        self._answers.begin()
        self._server.start()

    def _see_to_the_server(self) -> None:
        """Start a server again that ended or hangs. Raises GivenUpError in a crash loop."""
        status = self._server.ended()
        if status is None:
            if not self._hangs():
                return
            log.warning("the server does not answer: killed")
            self._server.kill()
        else:
            log.warning("the server ended with status %d", status)
        now = clock.now()
        self._ends = [end for end in self._ends if now - end < self._timing.crash_window] + [now]
        if len(self._ends) > self._timing.crashes:
            self._ends = []
            raise GivenUpError("the server ends again and again", self._timing.rest)
        self._report.restarted()
        self._start_server()

    def _hangs(self) -> bool:
        answered = self._answers.answered
        if answered:
            return clock.now() - answered > self._timing.hung
        return clock.now() - self._server.started > self._timing.start

    def _see_to_the_fence(self, held: Lease) -> None:
        """A newer holder means that we are not it, whatever etcd says; an older one that the
        database has forgotten us, as after the loss of its last writes."""
        holder = self._database.holder
        if holder is None or holder.token == held.revision:
            return
        if holder.token > held.revision:
            raise GivenUpError(f"the fence is {holder.host}'s", self._timing.rest)
        if self._database.seen > self._server.started:
            log.warning("the database has forgotten this host; taking the fence again")
            self._take(held)

    def _see_to_the_database(self) -> None:
        """Only this host is cut off from the database: the other one can serve."""
        if self._database.down_for() > self._timing.database and self._peer.peer_up:
            raise GivenUpError("only this host does not reach the database", self._timing.lease)
