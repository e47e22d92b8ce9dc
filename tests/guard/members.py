"""Members of a database as an arbiter meets them: a Patroni that says what the test wants, ports
that answer, refuse or are silent, and Patroni's keys in etcd."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
from typing import Any, Final

from guard.etcd import Entry, EtcdError
from tests.guard import waiting
from tests.guard.certificates import Pair
from tests.guard.voters import Voters

TTL: Final = 20  # s; nothing here waits for its end
FOLLOWING: Final = {"state": "running", "role": "replica", "replication_state": "streaming"}
LEFT_ALONE: Final = {"state": "running", "role": "replica"}
_RENEW_SECONDS: Final = 0.2


class Port:
    """A port of a host. It answers at first."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.number: int = self._listener.getsockname()[1]
        self._waiting: list[socket.socket] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.number}"

    def fall_silent(self) -> None:
        """As of a host without power. The kernel drops what comes to a queue that is full."""
        self._listener.listen(0)
        for _ in range(4):
            made = socket.socket()
            made.setblocking(False)
            made.connect_ex(("127.0.0.1", self.number))
            self._waiting.append(made)

    def refuse(self) -> None:
        """As of a host that lives, without the program."""
        self.end()

    def end(self) -> None:
        for one in (*self._waiting, self._listener):
            one.close()


class Patroni:
    """The REST API of a member, over TLS."""

    def __init__(self, shown: Pair) -> None:
        said: dict[str, Any] = {}

        class _Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name that http.server looks for
                self.send_response(200 if self.path == "/patroni" else 404)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._said = said
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self.says(**FOLLOWING)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def says(self, **status: Any) -> None:
        """From now on, and nothing else."""
        self._said.clear()
        self._said.update(status)

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Keys:
    """Patroni's keys: pg-1 leads and renews its lease, pg-2 is in sync."""

    def __init__(self, voters: Voters, prefix: str) -> None:
        self._voters, self.prefix = voters, prefix
        self.lease = voters.client.grant(TTL)
        self.put("config", {"ttl": TTL, "synchronous_mode": True})
        self.put("sync", {"leader": "pg-1", "sync_standby": "pg-2"})
        voters.client.put(f"{prefix}/leader", "pg-1", self.lease)
        self._over = threading.Event()
        self._renewal = threading.Thread(target=self._renew, daemon=True)
        self._renewal.start()

    def put(self, key: str, value: object) -> None:
        self._voters.client.put(f"{self.prefix}/{key}", json.dumps(value), 0)

    def read(self, key: str) -> Entry | None:
        return self._voters.client.read(f"{self.prefix}/{key}")

    def leader(self) -> str:
        entry = self.read("leader")
        return entry.value if entry else ""

    def stop_renewing(self) -> None:
        """Returns when no renewal is under way."""
        self._over.set()
        self._renewal.join(waiting.PATIENCE)

    def end(self) -> None:
        self.stop_renewing()
        self._voters.client.revoke(self.lease)

    def _renew(self) -> None:
        own = self._voters.another_client()
        while not self._over.wait(_RENEW_SECONDS):
            try:
                own.renew(self.lease)
            except EtcdError:
                continue  # a test took the quorum away
