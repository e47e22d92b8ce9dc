"""What the guard says of itself: to systemd, to Prometheus, and in one JSON line for people."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import prometheus_client

from guard import clock
from guard.trouble import Trouble

log = logging.getLogger(__name__)

Role = Literal["standby", "taking", "active", "stopping"]
ROLES: Final[tuple[Role, ...]] = ("standby", "taking", "active", "stopping")
STUCK_SECONDS: Final = 10.0  # without a decision; systemd then hears nothing more
BEAT_SECONDS: Final = 0.5


@dataclass
class Status:
    """The one line. Times of day are seconds since the epoch; nothing decides by them."""

    host: str
    role: Role = "standby"
    since: float = 0.0  # when the role began
    holder: str = ""  # who has the lease, as far as is known
    reason: str = ""  # why the last change of role
    lease_age_s: float | None = None  # since the last renewal
    token: int | None = None  # of the fence, while active
    database: bool = False  # whether this host reaches the primary
    server_pid: int | None = None
    server_answers: bool = False
    held_s: float | None = None  # how long the server may still stay stopped, on request
    takeovers: int = 0
    restarts: int = 0  # of the server, by this guard
    fencing_s: float | None = None  # what the last one took
    at: float = 0.0


class Teller:
    """Tells systemd that the program is not stuck, and shows its status, twice a second and at
    news. `file` is where `said` goes as one JSON line.
    """

    def __init__(self, file: Path, registry: prometheus_client.CollectorRegistry) -> None:
        self._file, self._registry = file, registry
        self._beat = clock.now()
        self._news, self._over = threading.Event(), threading.Event()
        self._trouble = Trouble("report")
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def open(self, address: str, port: int) -> None:
        """Tell from now on. Raises OSError when the metrics' address is taken."""
        prometheus_client.start_http_server(port, addr=address, registry=self._registry)
        self._thread.start()
        notify("READY=1")

    def said(self) -> dict[str, Any]:
        """The status now; the metrics say the same from then on."""
        raise NotImplementedError

    def summary(self) -> str:
        """The status in a few words, for systemd."""
        raise NotImplementedError

    def beat(self) -> None:
        """Another decision was made: the program is not stuck."""
        self._beat = clock.now()

    def news(self) -> None:
        """Tell at once."""
        self._news.set()

    def end(self) -> None:
        """Tell a last time."""
        self._over.set()
        self._news.set()
        self._thread.join(BEAT_SECONDS)

    def _run(self) -> None:
        while not self._over.is_set():
            self._news.wait(BEAT_SECONDS)
            self._news.clear()
            try:
                self._tell()
            except OSError as error:  # such as a full disk: no reason to end what serves
                self._trouble.is_there(error)
            else:
                self._trouble.is_over()

    def _tell(self) -> None:
        said = self.said()
        if clock.now() - self._beat < STUCK_SECONDS:
            notify(f"WATCHDOG=1\nSTATUS={self.summary()}")
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(said) + "\n", encoding="utf-8")
        part.chmod(0o644)
        part.replace(self._file)


class Report(Teller):
    """The status of a guard, told whenever it changes and twice a second."""

    def __init__(self, host: str, file: Path) -> None:
        self.status = Status(host, since=time.time())
        self._metrics = _Metrics()
        self._refresh: Callable[[Status], None] = lambda _: None
        super().__init__(file, self._metrics.registry)

    def refresh_by(self, refresh: Callable[[Status], None]) -> None:
        """Let it fill in what changes by itself whenever the status is told."""
        self._refresh = refresh

    def enter(self, role: Role, reason: str) -> None:
        """Another role."""
        self.status.role, self.status.reason = role, reason
        self.status.since = time.time()
        log.info("%s: %s", role, reason)
        self.news()

    def fenced(self, token: int, seconds: float) -> None:
        """The fence is ours."""
        self.status.token, self.status.fencing_s = token, round(seconds, 3)

    def took_over(self) -> None:
        """This host serves now."""
        self.status.takeovers += 1
        self._metrics.takeovers.inc()
        self.enter("active", "the fence is ours")

    def restarted(self) -> None:
        """The server ended or hung, and is started again."""
        self.status.restarts += 1
        self._metrics.restarts.inc()

    def said(self) -> dict[str, Any]:
        self._refresh(self.status)
        self.status.at = time.time()
        self._metrics.show(self.status)
        return asdict(self.status)

    def summary(self) -> str:
        return f"{self.status.role}; {self.status.reason}"


class _Metrics:
    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        made = self.registry
        self._role = prometheus_client.Gauge(
            "mesh_guard_role", "1 for the role that the guard is in.", ["role"], registry=made
        )
        self._age = prometheus_client.Gauge(
            "mesh_guard_lease_age_seconds",
            "Time since the last renewal of the lease; -1 without one.",
            registry=made,
        )
        self._database = prometheus_client.Gauge(
            "mesh_guard_database_up", "Whether this host reaches the primary.", registry=made
        )
        self._answers = prometheus_client.Gauge(
            "mesh_guard_server_up", "Whether Headscale answers on this host.", registry=made
        )
        self._fencing = prometheus_client.Gauge(
            "mesh_guard_fencing_seconds", "What the last fencing took.", registry=made
        )
        self.takeovers = prometheus_client.Counter(
            "mesh_guard_takeovers", "How often this host became active.", registry=made
        )
        self.restarts = prometheus_client.Counter(
            "mesh_guard_server_restarts", "Headscale ended or hung, here.", registry=made
        )

    def show(self, status: Status) -> None:
        for role in ROLES:
            self._role.labels(role).set(role == status.role)
        self._age.set(-1 if status.lease_age_s is None else status.lease_age_s)
        self._database.set(status.database)
        self._answers.set(status.server_answers)
        self._fencing.set(status.fencing_s or 0)


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens when the guard does not run under it."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), path.replace("@", "\0", 1))
