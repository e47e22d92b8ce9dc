"""What a guard does: compete, take over, hold, give up. One thread, one decision at a time."""

from __future__ import annotations

import logging
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from guard import clock
from guard.config import Config
from guard.contest import Contest
from guard.etcd import Etcd, Trust
from guard.fence import Fence, FenceError, Holder, StaleTokenError
from guard.hold import Door, Hold
from guard.lease import Lease
from guard.report import Report, Status
from guard.server import Probe, Server
from guard.trouble import Trouble
from guard.watch import DatabaseWatch, PeerWatch, ServerWatch

log = logging.getLogger(__name__)

Request = Literal["stop", "reload"]
PEER_SECONDS: Final = 3.0  # three looks at the database
TICK: Final = 0.1  # s between two looks at everything


class StoppedError(Exception):
    """Somebody asked the guard to end."""


class LostError(Exception):
    """The lease may soon be another's: the server must die now."""


class GivenUpError(Exception):
    """The other host should have a turn."""


class Duty:
    """The guard of one host."""

    def __init__(self, config: Config, report: Report) -> None:
        self._host, self._timing, self._report = config.host, config.timing, report
        self._endpoints = config.endpoints
        self._trust = Trust(ca=config.ca, certificate=config.certificate, key=config.key)
        self._contest = Contest(config, Etcd(config.endpoints, self._trust))
        self._server = Server(config.command, config.timing.stop)
        password = Path(config.password_file)
        self._fence = Fence(config.database, password)
        self._worker = ThreadPoolExecutor(1, "fence")
        self._database = DatabaseWatch(Fence(config.database, password), config.host)
        self._answers = ServerWatch(Probe(config.probe, config.probe_name, config.ca))
        self._door = Door(Path(config.hold_socket))
        self._hold: Hold | None = None  # while the server is stopped for somebody
        self._peer = PeerWatch(
            Etcd(config.endpoints, self._trust),
            f"{config.prefix}/guards/{config.host}",
            [f"{config.prefix}/guards/{peer}" for peer in config.peers],
            config.timing.lease,
            self._database.surely_up,
        )
        # The one thing that a signal handler may fill while the same thread waits for it.
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._renewed = False  # whether the server is to be started anew
        self._lease: Lease | None = None
        self._ends: list[float] = []  # of the server, within the crash window
        self._gave_up = -config.timing.rest  # when last; the clock begins with the host
        self._taken = 0.0  # when the fence was last ours

    def stop(self) -> None:
        """Hand over and end; may be called from a signal handler."""
        self._requests.put("stop")

    def reload(self) -> None:
        """Start the server anew, if it runs here: it has another configuration. May be called
        from a signal handler."""
        self._requests.put("reload")

    def run(self) -> None:
        """Returns when it was stopped."""
        watches = (self._database, self._peer, self._answers)
        for watch in watches:
            watch.start()
        self._door.start()
        try:
            while True:
                self._turn(self._compete())
        except StoppedError:
            log.info("the end")
        finally:
            self._door.stop()
            for watch in watches:
                watch.end()
            self._worker.shutdown(wait=False)
            for watch in watches:
                watch.join(1.0)

    def refresh(self, status: Status) -> None:
        """What changes by itself, for the report."""
        held = self._lease
        status.holder = self._contest.holder
        status.lease_age_s = round(clock.now() - held.since, 2) if held else None
        status.database = self._database.up
        status.server_pid = self._server.pid
        alive = status.server_pid is not None
        status.server_answers = alive and self._answers.fresh(self._timing.hung)
        hold = self._hold
        status.held_s = round(hold.left(), 1) if hold else None

    # Competing

    def _compete(self) -> Lease:
        """The lease, once it is this host's."""
        while True:
            self._pause(2 * TICK)
            won = self._contest.enter(fit=self._fit())
            if won:
                return won

    def _fit(self) -> bool:
        """Whether this host could serve: a server without its database serves nobody."""
        since = clock.now() - self._gave_up
        rest = self._timing.rest if self._peer.peer_up else self._timing.lease
        return self._database.up and since > rest

    # Holding

    def _turn(self, held: Lease) -> None:
        """Take over and serve until the lease must go; then let it go."""
        self._lease = held
        held.start(self._endpoints, self._trust)
        try:
            self._report.enter("taking", "the lease is ours")
            self._take(held)
            self._serve(held)
        except LostError as reason:
            self._server.kill()
            self._report.enter("standby", str(reason))
        except GivenUpError as reason:
            self._gave_up = clock.now()
            self._server.stop(held.remaining())
            self._report.enter("standby", str(reason))
        finally:
            self._door.close("this host is not the active one any more")
            self._server.stop(held.remaining())
            self._lease, self._report.status.token = None, None
            self._contest.leave(held)

    def _take(self, held: Lease) -> None:
        """Fence the other host off. Raises GivenUpError when the database does not let us."""
        until = clock.now() + self._timing.database
        trouble = Trouble("fence")
        while True:
            work = self._worker.submit(self._fence.take, held.revision)
            while not work.done():
                self._check(held)
            try:
                seconds = work.result()
            except StaleTokenError as error:
                raise GivenUpError(f"fence: {error}") from None
            except FenceError as error:
                trouble.is_there(error)
                # With nobody to give it to, wait here: a lost standby holds writes up for a while.
                if clock.now() > until and self._peer.peer_up:
                    raise GivenUpError(f"fence: {error}") from None
                self._check(held)
            else:
                self._taken = clock.now()
                self._report.fenced(held.revision, seconds)
                return

    def _serve(self, held: Lease) -> None:
        self._start_server()
        self._report.took_over()
        self._door.open()
        while True:
            self._check(held)
            hold = self._door.asked
            if hold:
                self._stay_stopped(held, hold)
            if self._renewed:
                log.info("starting the server anew, as asked")
                self._server.stop(held.remaining())
                self._start_server()
            self._see_to_the_server()
            self._see_to_the_fence(held)
            self._see_to_the_database()

    def _stay_stopped(self, held: Lease, hold: Hold) -> None:
        """Keep the lease but no server, until the hold ends. What takes the lease or the fence away
        ends it too: the client must know before anybody's server starts."""
        log.info("stopping the server, for a hold of at most %g s", hold.seconds)
        self._server.stop(held.remaining())
        hold.begin()
        self._hold = hold
        self._report.news()
        try:
            while hold.wanted:
                self._check(held)
                self._see_to_the_fence(held)
                self._see_to_the_database()
        finally:
            hold.end("the guard let go")
            self._hold = None
        log.info("the hold is over")
        self._start_server()

    def _check(self, held: Lease) -> None:
        """One tick. Raises StoppedError or LostError."""
        self._pause(TICK)
        if not held.held():
            raise LostError("the lease was not renewed in time")

    def _pause(self, seconds: float) -> None:
        self._report.beat()
        try:
            request = self._requests.get(timeout=seconds)
        except queue.Empty:
            return
        if request == "stop":
            self._report.enter("stopping", "asked to end")
            raise StoppedError
        self._renewed = True

    def _start_server(self) -> None:
        self._renewed = False  # it reads the newest configuration
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
            raise GivenUpError("the server ends again and again")
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
        sight = self._database.sight
        if sight is None or sight.asked < self._taken:
            return
        holder = sight.holder
        if holder == Holder(self._host, held.revision):
            return
        if holder.token >= held.revision:
            raise GivenUpError(f"the fence is {holder.host}'s")
        log.warning("the database has forgotten this host; taking the fence again")
        self._take(held)

    def _see_to_the_database(self) -> None:
        """Only this host is cut off from the database: the other one can serve. When a database
        comes back that was away for both, one of them notices first: it does not count."""
        away = self._database.down_for() > self._timing.database
        if away and self._peer.up_for() > PEER_SECONDS:
            raise GivenUpError("only this host does not reach the database")
