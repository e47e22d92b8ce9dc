"""The public world of a lab: name server, package mirror, object store, DNS APIs, ACME, and
what routers say.

Each is a process of its own inside the lab's internet (the mirror with its sockets only). It is
started here, survives whoever started it, and is found again by its record in <state>/services.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from lab.world import process
from lab.world.command import inside, until
from lab.world.errors import WorldError
from lab.world.state import State

ALL: Final = ("nameserver", "mirror", "objectstore", "dnsapi", "acme", "routers", "distance")
_ON_DEMAND: Final = {"distance"}
_OUTSIDE: Final = {"mirror"}  # it needs this machine's own network for what it fetches
START_SECONDS: Final = 20
_REPOSITORY: Final = Path(__file__).resolve().parents[3]
# What a service needs of its starter's environment: where the cache is, and how this machine
# reaches the package archives.
_KEPT: Final = (
    *("HOME", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)


def wanted() -> list[str]:
    """The services a world always has; ACME only where Pebble has been built."""
    from lab.world.services import acme  # it imports this package's siblings

    always = [name for name in ALL if name not in _ON_DEMAND]
    return [name for name in always if name != "acme" or acme.binary() is not None]


def start(state: State, name: str) -> None:
    """Start a service; returns when its sockets are open. WorldError with the end of its log
    when it ends instead.
    """
    if running(state, name):
        return
    ready = ready_file(state, name)
    ready.unlink(missing_ok=True)
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    line = [sys.executable, "-P", "-m", "lab.world.services", name, str(state.root)]
    started = process.spawn(
        line if name in _OUTSIDE else inside(state.namespace("internet"), line),
        record=record(state, name),
        log=log(state, name),
        env={"PYTHONPATH": str(_REPOSITORY), **kept},
    )

    def is_ready() -> bool:
        if not started.alive():
            raise WorldError(f"the {name} ended while starting", _tail(log(state, name)))
        return ready.exists()

    until(is_ready, within=START_SECONDS, what=f"start of the {name}")


def stop(state: State, name: str) -> None:
    """End a service; nothing happens when it does not run."""
    found = process.recorded(record(state, name))
    if found is not None:
        found.end()
    record(state, name).unlink(missing_ok=True)


def running(state: State, name: str) -> bool:
    """Whether a service runs."""
    found = process.recorded(record(state, name))
    return found is not None and found.alive()


def record(state: State, name: str) -> Path:
    """Where a service's process is recorded."""
    return state.services / f"{name}.json"


def log(state: State, name: str) -> Path:
    """What a service prints."""
    return state.services / f"{name}.log"


def ready_file(state: State, name: str) -> Path:
    """The file a service makes once its sockets are open."""
    return state.services / f"{name}.ready"


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-20:])
