"""Prepare a host's next boot after it rebooted by itself: python -m lab.world.reboot STATE HOST."""

from __future__ import annotations

import sys
from pathlib import Path

from lab.world.host import Host
from lab.world.state import State

if __name__ == "__main__":
    Host(State(Path(sys.argv[1])), sys.argv[2]).prepare_boot()
