"""`python3 -m relays.watch /etc/mesh/relays.json`: decides which relays are in the map."""

from __future__ import annotations

import http.client
import logging
import signal
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guard.etcd import EtcdError
from guard.trouble import Trouble
from relays import config, decision, probes, report
from relays.config import Config
from relays.decision import Health, Out, Wishes
from relays.store import Store, StoreError

log = logging.getLogger("mesh-relay-watch")

ANSWER_SECONDS: Final = 3.0  # derpprobe is on this host


@dataclass
class Watch:
    """One look after the other; the decision is in etcd, so another one goes on from it."""

    config: Config
    store: Store

    def __post_init__(self) -> None:
        self._runs: dict[str, probes.Run] = {}
        self._out: dict[str, Out] = {}
        self._wishes = Wishes()
        self._derpprobe, self._etcd = Trouble("derpprobe"), Trouble("etcd")

    def look(self, now: float) -> None:
        """Decide by what is known at a time, and tell. Raises OSError when it cannot tell."""
        self._runs = probes.advance(self._runs, self._results())
        healths = {relay: probes.health(self._runs, relay, now) for relay in self.config.relays}
        trouble = self._decide(healths, now)
        told = report.status(
            self.config.relays, self._runs, healths, self._out, self._wishes, trouble, now
        )
        report.tell(self.config, told)

    def _results(self) -> list[probes.Result]:
        try:
            with urllib.request.urlopen(self.config.metrics, timeout=ANSWER_SECONDS) as answer:
                text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._derpprobe.is_there(error)
            return []
        self._derpprobe.is_over()
        return probes.results(text)

    def _decide(self, healths: dict[str, Health], now: float) -> str:
        """What is in the way of a decision, if anything."""
        try:
            self._out, self._wishes = self.store.decision(), self.store.wishes()
            at = report.iso(now)
            out = decision.decide(healths, self._out, self._wishes, self.config.timing, at)
            if out != self._out:
                self.store.publish(out, at)
                _tell_changes(self._out, out)
                self._out = out
        except (EtcdError, StoreError) as error:
            self._etcd.is_there(error)
            return str(error)
        self._etcd.is_over()
        return ""


def _tell_changes(old: dict[str, Out], new: dict[str, Out]) -> None:
    for relay in sorted(new.keys() - old.keys()):
        log.warning("%s leaves the map: %s", relay, new[relay].why)
    for relay in sorted(old.keys() - new.keys()):
        log.warning("%s comes back into the map", relay)


def main() -> int:
    """The exit status."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    settings = config.load(Path(sys.argv[1]))
    watch = Watch(settings, settings.store())
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    while True:
        watch.look(time.time())
        if over.wait(settings.each):
            return 0


if __name__ == "__main__":
    sys.exit(main())
