"""`python3 -m guard /etc/mesh/guard.json`: runs until SIGTERM; SIGHUP starts the server anew."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from guard import program
from guard.config import Config, load
from guard.duty import Duty
from guard.report import Report


def make(config: Config) -> tuple[Duty, Report]:
    """The guard, and what tells of it."""
    report = Report(config.host, Path(config.status_file))
    duty = Duty(config, report)
    report.refresh_by(duty.refresh)
    signal.signal(signal.SIGHUP, lambda *_: duty.reload())
    return duty, report


if __name__ == "__main__":
    sys.exit(program.run("guard", load, make))
