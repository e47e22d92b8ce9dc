"""`python3 -m guard /etc/mesh/guard.json`: runs until SIGTERM; SIGHUP starts the server anew."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

from guard.config import ConfigError, load
from guard.duty import Duty
from guard.report import Report


def main() -> int:
    """The exit status."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        config = load(Path(sys.argv[1]))
    except (IndexError, ConfigError) as error:
        print(f"guard: {error}", file=sys.stderr)
        return 2
    report = Report(config.host, Path(config.status_file))
    duty = Duty(config, report)
    signal.signal(signal.SIGTERM, lambda *_: duty.stop())
    signal.signal(signal.SIGHUP, lambda *_: duty.reload())
    try:
        report.start(config.metrics_address, config.metrics_port, duty.refresh)
    except OSError as error:
        where = f"{config.metrics_address}:{config.metrics_port}"
        print(f"guard: metrics at {where}: {error}", file=sys.stderr)
        return 1
    duty.run()
    report.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
