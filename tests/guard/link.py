"""A way from a host to a service that a test can cut, as a network that drops every packet."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.guard import waiting


class Link:
    """Listens on `port` and passes everything on to the target while it is not cut.

    Cut, it still accepts, and says nothing: the hardest fault for a client to notice.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._cut = self._answers_lost = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"link {self.port}", daemon=True).start()

    def cut(self) -> None:
        """From now on nothing gets through in either direction."""
        self._cut = True

    def lose_answers(self) -> None:
        """Requests get through, and nothing comes back."""
        self._answers_lost = True

    def heal(self) -> None:
        """New connections work; those that lost data are gone."""
        self._drop()
        self._cut = self._answers_lost = False

    def end(self) -> None:
        """Close everything."""
        # A thread in accept() is only woken by a shutdown.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # the end
            self._sockets.append(near)
            if self._cut:
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target), waiting.PATIENCE)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._sockets.append(far)
            for ends in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, here: socket.socket, there: socket.socket, answers: bool) -> None:
        try:
            while data := here.recv(65536):
                if not (self._cut or (answers and self._answers_lost)):
                    there.sendall(data)
            if not self._cut:
                there.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other pump or the end closed it
