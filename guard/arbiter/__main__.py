"""`python3 -m guard.arbiter /etc/mesh/arbiter.json`: runs until SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

from guard.arbiter.config import load
from guard.arbiter.duty import Arbiter
from guard.arbiter.report import ArbiterReport
from guard.config import ConfigError


def main() -> int:
    """The exit status."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        wanted = load(Path(sys.argv[1]))
    except (IndexError, ConfigError) as error:
        print(f"arbiter: {error}", file=sys.stderr)
        return 2
    report = ArbiterReport(wanted.host, Path(wanted.status_file))
    arbiter = Arbiter(wanted, report)
    signal.signal(signal.SIGTERM, lambda *_: arbiter.stop())
    try:
        report.open(wanted.metrics_address, wanted.metrics_port)
    except OSError as error:
        where = f"{wanted.metrics_address}:{wanted.metrics_port}"
        print(f"arbiter: metrics at {where}: {error}", file=sys.stderr)
        return 1
    arbiter.run()
    report.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
