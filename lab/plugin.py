"""The process behind a plugin executable: prints its port, serves, and ends with pulumi."""

from __future__ import annotations

import importlib
import os
import select
import sys
from pathlib import Path
from socket import socket
from typing import Final

from lab.provider import Handler, Service
from lab.store import Store

CLOUDS: Final = ("alicloud", "tencentcloud", "aws")


def main(package: str, version: str) -> None:
    """Serve `package` until the engine ends. LAB_STATE names the state directory."""
    parent = os.getppid()
    # The engine passes the address of its log service as the first argument.
    server = serve(package, version, sys.argv[1] if len(sys.argv) > 1 else "")
    wait_for_end_of(parent)
    del server  # it serves for as long as somebody holds it
    os._exit(0)  # at once, whatever the threads of running calls are waiting for


def serve(package: str, version: str, engine_address: str) -> object:
    """Print the port and serve in threads, for as long as the result is held."""
    state = Path(os.environ["LAB_STATE"])
    store = Store(state)
    handler = _handler(package, state, store, engine_address)
    server, port = Service(handler, store, version).start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    return server


def load_all() -> None:
    """Import what any plugin needs, for a process that forks them."""
    for module in ("cloud", "command", "randoms", "tls", *(f"clouds.{name}" for name in CLOUDS)):
        importlib.import_module(f"lab.{module}")


def _handler(package: str, state: Path, store: Store, engine_address: str) -> Handler:
    """Each handler's module is imported only in its own plugin: start time counts."""
    if package in CLOUDS:
        from lab import cloud

        return cloud.handler(package, state, store)
    if package == "command":
        from lab import command

        return command.handler(state, engine_address)
    if package == "random":
        from lab import randoms

        return randoms.handler()
    from lab import tls

    return tls.handler()


def wait_for_end_of(process: int, *connections: socket) -> None:
    """Return when a process has ended, also by kill -9; at once when it has already.

    The same for whoever is at the other end of a connection and sends nothing.
    Not PR_SET_PDEATHSIG: that fires when the *thread* that started us ends, and pulumi's Go
    runtime gives no promise about its threads.
    """
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    watched: list[int | socket] = [descriptor, *connections]
    select.select(watched, [], [])
