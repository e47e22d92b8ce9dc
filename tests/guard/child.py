"""What a guard runs in these tests instead of Headscale: answers /version over TLS.

`child.py PORT CERTIFICATE KEY BROKEN`: ends at once while the file BROKEN exists.
"""

from __future__ import annotations

import http.server
import ssl
import sys
from pathlib import Path


class _Version(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server looks for
        self.send_response(200 if self.path == "/version" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def main() -> None:
    port, certificate, key, broken = sys.argv[1:]
    if Path(broken).exists():
        sys.exit(1)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), _Version)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
