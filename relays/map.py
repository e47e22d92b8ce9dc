"""`python3 -m relays.map /etc/mesh/relay-map.json`: writes the DERP map that Headscale reads.

It is the full map without the relays that the decision in etcd takes out. With etcd away the map
stays as it is; only when there is none yet, it is the full one.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from guard.etcd import Etcd, EtcdError, Trust
from guard.report import notify
from guard.trouble import Trouble
from relays import files
from relays.store import Store, StoreError

log = logging.getLogger("mesh-relay-map")

EACH: Final = 2.0  # s between two looks
_HEADER: Final = "# Written by mesh-relay-map; changes here are lost.\n"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Paths are absolute."""

    full: str  # the map with all relays
    map: str  # what Headscale reads
    endpoints: list[str]  # etcd's, one a voter
    prefix: str  # of all keys in etcd
    ca: str
    certificate: str
    key: str

    def store(self) -> Store:
        """The decision in etcd."""
        trust = Trust(ca=self.ca, certificate=self.certificate, key=self.key)
        return Store(Etcd(self.endpoints, trust), self.prefix)


class EmptyMapError(Exception):
    """A decision that leaves no relay."""


def text(full: Mapping[str, Any], out: Collection[str]) -> str:
    """The map without the relays of those codes. Raises EmptyMapError.

    YAML: Headscale takes no JSON, which cannot write a region's number as a number.
    """
    left = {
        number: region
        for number, region in full["regions"].items()
        if region["regioncode"] not in out
    }
    if not left:
        raise EmptyMapError(f"without {', '.join(sorted(out))} no relay would be left")
    lines = [
        f"  {number}: {json.dumps(region, ensure_ascii=False)}\n" for number, region in left.items()
    ]
    return "".join([_HEADER, "regions:\n", *lines])


class Follower:
    """One look after the other."""

    def __init__(self, config: Config, store: Store) -> None:
        self._full = json.loads(Path(config.full).read_text(encoding="utf-8"))
        self._map, self._store = Path(config.map), store
        self._trouble = Trouble("the decision")

    def look(self) -> None:
        """Afterwards there is a map. Raises OSError when it cannot be written."""
        try:
            wanted = text(self._full, self._store.decision().keys())
        except (EtcdError, StoreError, EmptyMapError) as error:
            self._trouble.is_there(error)
            if self._map.exists():
                return
            wanted = text(self._full, ())
        else:
            self._trouble.is_over()
        if not self._map.exists() or self._map.read_text(encoding="utf-8") != wanted:
            files.replace(self._map, wanted)
            log.info("another map: %s", wanted.removeprefix(_HEADER))


def main() -> int:
    """The exit status."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    config = Config(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    follower = Follower(config, config.store())
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    follower.look()
    notify("READY=1")  # Headscale does not start without a map
    while not over.wait(EACH):
        follower.look()
    return 0


if __name__ == "__main__":
    sys.exit(main())
