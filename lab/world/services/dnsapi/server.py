"""The HTTPS server of all three APIs, told apart by the host that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.world import addresses
from lab.world.authority import authority
from lab.world.services import sockets, web
from lab.world.services.dnsapi import alidns, dnspod, route53
from lab.world.services.dnsapi.book import Book
from lab.world.services.dnsapi.call import Answer, Call
from lab.world.state import State

_APIS: Final[Mapping[str, tuple[str, Callable[[Call, Book], Answer]]]] = {
    api.HOST: (api.OWNER, api.answer) for api in (alidns, dnspod, route53)
}
HOSTS: Final = tuple(_APIS)
_LARGEST: Final = 1 << 20  # bytes of a request's body


def serve(state: State, ready: Callable[[], None]) -> None:
    """Answer until killed."""

    known = {host: Book(state, owner) for host, (owner, _) in _APIS.items()}

    class Handler(_Handler):
        books = known

    context = web.tls_context(authority(), state.services / "certificates", HOSTS.__contains__)
    listening = sockets.tcp(state, addresses.DNS_API, 443)
    thread = web.Server(listening, Handler, context).start()
    ready()
    thread.join()


class _Handler(web.Handler):
    books: Mapping[str, Book]

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        host = self.asked_host
        length = int(self.headers.get("Content-Length") or 0)
        if host not in _APIS or length > _LARGEST:
            self.close_connection = True  # the body is not read
            self.send_text(400, "no such API\n")
            return
        path, _, query = self.path.partition("?")
        call = Call(
            method=self.command,
            host=host,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        answer = _APIS[host][1](call, self.books[host])
        self.send_text(answer.status, answer.text, answer.content_type)

    do_POST = do_GET  # noqa: N815
