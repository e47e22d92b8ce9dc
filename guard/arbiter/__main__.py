"""`python3 -m guard.arbiter /etc/mesh/arbiter.json`: runs until SIGTERM."""

from __future__ import annotations

import sys
from pathlib import Path

from guard import program
from guard.arbiter.config import Config, load
from guard.arbiter.duty import Arbiter
from guard.arbiter.report import ArbiterReport


def make(wanted: Config) -> tuple[Arbiter, ArbiterReport]:
    """The arbiter, and what tells of it."""
    report = ArbiterReport(wanted.host, Path(wanted.status_file))
    return Arbiter(wanted, report), report


if __name__ == "__main__":
    sys.exit(program.run("arbiter", load, make))
