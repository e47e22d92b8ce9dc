"""Run one service: python -m lab.world.services NAME STATE."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from lab.world import services
from lab.world.services import acme, distance, mirror, nameserver, objectstore, routers
from lab.world.services.dnsapi import server
from lab.world.state import State

MAIN = {
    "nameserver": nameserver.serve,
    "mirror": mirror.serve,
    "objectstore": objectstore.serve,
    "dnsapi": server.serve,
    "acme": acme.serve,
    "routers": routers.serve,
    "distance": distance.serve,
}


def main(name: str, folder: str) -> None:
    """Serve until killed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    state = State(Path(folder))
    MAIN[name](state, services.ready_file(state, name).touch)


if __name__ == "__main__":
    main(*sys.argv[1:])
