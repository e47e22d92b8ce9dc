"""The process behind a plugin executable: prints its port, serves, and ends with pulumi."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import Final

from lab.provider import Handler, Service
from lab.store import Store

CLOUDS: Final = ("alicloud", "tencentcloud", "aws")


def main(package: str, version: str) -> None:
    """Serve `package` until the engine ends. LAB_STATE names the state directory."""
    parent = os.getppid()
    state = Path(os.environ["LAB_STATE"])
    store = Store(state)
    # The engine passes the address of its log service as the first argument.
    engine_address = sys.argv[1] if len(sys.argv) > 1 else ""
    handler = _handler(package, state, store, engine_address)
    _, port = Service(handler, store, version).start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    _wait_for_end_of(parent)
    os._exit(0)  # at once, whatever the threads of running calls are waiting for


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


def _wait_for_end_of(process: int) -> None:
    """Return when a process has ended, also by kill -9; at once when it has already.

    Not PR_SET_PDEATHSIG: that fires when the *thread* that started us ends, and pulumi's Go
    runtime gives no promise about its threads.
    """
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    select.select([descriptor], [], [])
