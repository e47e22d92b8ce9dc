"""HTTP and HTTPS servers on sockets of the lab's internet."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lab.world.authority import Authority
from lab.world.state import write_text

_log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Serves on a socket that is listening already, with TLS when given a context."""

    daemon_threads = True

    def __init__(
        self,
        listening: socket.socket,
        handler: type[BaseHTTPRequestHandler],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(listening.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self._tls = tls

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, client = super().get_request()
        if self._tls is not None:  # the handshake is left to the connection's own thread
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, client

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.info("connection of %s broke off", client_address, exc_info=True)

    def start(self) -> threading.Thread:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        return thread


class Handler(BaseHTTPRequestHandler):
    """Common ground of the lab's handlers: HTTP/1.1, the host asked for, files as answers."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds a client may be silent

    @property
    def asked_host(self) -> str:
        return (self.headers.get("Host") or "").partition(":")[0].lower()

    def send_file(self, path: Path, headers: dict[str, str]) -> None:
        """A whole file; its head alone for HEAD."""
        with path.open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile)

    def send_text(self, status: int, text: str, content_type: str = "text/plain") -> None:
        """A short answer."""
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        _log.info("%s %s %s", self.client_address[0], self.asked_host, format % args)


def trusting(ca: Path) -> ssl.SSLContext:
    """TLS for a client that trusts one CA alone."""
    return ssl.create_default_context(cafile=str(ca))


def tls_context(authority: Authority, folder: Path, knows: Callable[[str], bool]) -> ssl.SSLContext:
    """TLS with a certificate for whatever known name the client asks for, issued when first
    needed; clients that ask for another name are refused.
    """
    contexts: dict[str, ssl.SSLContext] = {}
    alone = threading.Lock()

    def context_of(name: str) -> ssl.SSLContext:
        with alone:
            if name not in contexts:
                file = folder / f"{name}.pem"
                write_text(file, authority.issue([name]).decode())
                contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                contexts[name].load_cert_chain(file)
            return contexts[name]

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is None or not knows(name):
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context_of(name)
        return None

    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.sni_callback = choose
    return outer
