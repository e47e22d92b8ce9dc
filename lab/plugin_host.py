"""A process that has all of the plugins loaded, and forks one whenever a launcher asks.

Real providers are compiled programs that start at once; a Python process takes 0.3 s to load, and
a run starts one for every provider resource. Each plugin is still a process of its own, with the
launcher's streams, folder and variables, and ends with its launcher and with pulumi.
"""

from __future__ import annotations

import gc
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from lab import launcher, plugin

_REPOSITORY: Final = Path(__file__).parent.parent
_LIMIT: Final = 1 << 20  # bytes of a request; the kernel allows a fifth of that


class PluginHost:
    """The host that one `Engine` runs; it ends with this object, also when its process is killed.

    A launcher that finds no host becomes a plugin itself, so nothing depends on it being alive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self._address = ""

    def address(self, environment: Mapping[str, str]) -> str:
        """The path of the host's socket, for LAB_PLUGINS; the host is started when none runs."""
        with self._lock:
            if self.process is None or self.process.poll() is not None:
                self._start(environment)
            return self._address

    def _start(self, environment: Mapping[str, str]) -> None:
        """Launchers may connect at once: what they ask is answered when all is loaded."""
        folder = tempfile.mkdtemp(prefix="mesh-plugins-")  # short: the kernel allows 107 bytes
        self._address = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self._address)
            listener.listen(64)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lab.plugin_host", str(listener.fileno()), folder],
                cwd=_REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # what is typed at the terminal is for pulumi alone
            )
        weakref.finalize(self, _end, self.process, folder)


def _end(process: subprocess.Popen[bytes], folder: str) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)  # left behind by a host that was killed


@dataclass(frozen=True)
class _Request:
    """What a launcher asks for: see `launcher.request`."""

    package: str
    version: str
    engine: str
    pulumi: int
    folder: str
    variables: Mapping[str, str]

    @classmethod
    def parse(cls, message: bytes) -> _Request:
        package, version, engine, pulumi, folder, *pairs = os.fsdecode(message).split("\0")
        variables = dict(pair.split("=", 1) for pair in pairs)
        return cls(package, version, engine, int(pulumi), folder, variables)


def _serve(listener: socket.socket) -> None:
    """Fork a plugin for every launcher until the owner closes our standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a plugin ended
    gc.freeze()  # a collection in a plugin would copy all that is shared
    while True:
        ready, _, _ = select.select([sys.stdin, listener], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        message, streams, _, _ = socket.recv_fds(connection, _LIMIT, 3)
        if message and os.fork() == 0:
            listener.close()
            _become_plugin(_Request.parse(message), streams, connection)
        for stream in streams:
            os.close(stream)
        connection.close()


def _become_plugin(request: _Request, streams: list[int], connection: socket.socket) -> NoReturn:
    """Never returns, whatever happens: the host's own loop is not for its children."""
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(request.variables)
        os.chdir(request.folder)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.send(launcher.TAKEN)
        server = plugin.serve(request.package, request.version, request.engine)
        plugin.wait_for_end_of(request.pulumi, connection)
        del server  # it serves for as long as somebody holds it
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)  # at once, whatever the threads of running calls are waiting for
    raise AssertionError("the process has ended")


def main(descriptor: str, folder: str) -> None:
    """Load, then serve the socket that is inherited as `descriptor`."""
    plugin.load_all()
    with socket.socket(fileno=int(descriptor)) as listener:
        _serve(listener)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
