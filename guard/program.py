"""The life of the guard and of the arbiter as programs: configured, told of, ended by SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from guard.config import ConfigError
from guard.report import Teller


class Configured(Protocol):
    """A configuration that says where the metrics are shown."""

    @property
    def metrics_address(self) -> str:
        """Where they are listened for."""

    @property
    def metrics_port(self) -> int:
        """And at which port."""


class Work(Protocol):
    """What the program is there for."""

    def stop(self) -> None:
        """Let `run` return; may be called from a signal handler."""

    def run(self) -> None:
        """Returns when it was stopped."""


C = TypeVar("C", bound=Configured)


def run(name: str, load: Callable[[Path], C], make: Callable[[C], tuple[Work, Teller]]) -> int:
    """The exit status of program `name`, whose one argument is the file that `load` reads."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        config = load(Path(sys.argv[1]))
    except (IndexError, ConfigError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    work, report = make(config)
    signal.signal(signal.SIGTERM, lambda *_: work.stop())
    try:
        report.open(config.metrics_address, config.metrics_port)
    except OSError as error:
        where = f"{config.metrics_address}:{config.metrics_port}"
        print(f"{name}: metrics at {where}: {error}", file=sys.stderr)
        return 1
    work.run()
    report.end()
    return 0
