"""Shell scripts that run in a host's tree or beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

GENERATOR: Final = Path(__file__).with_name("mount-data-disks")
RUNNER: Final = Path(__file__).with_name("run-host")
FINISH: Final = Path(__file__).with_name("finish-tree")
