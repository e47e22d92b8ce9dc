"""What tests need of this machine. A test without it fails, and says what brings it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests import stacks

DIST: Final = stacks.REPOSITORY / "dist"


def root(why: str) -> None:
    """The tests run as root."""
    if os.geteuid() != 0:
        pytest.fail(f"{why}: run the tests as root")


def programs(*names: str) -> None:
    """These programs are installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.fail(f"this machine has no {', '.join(missing)}; run `make setup`")


def artifact(name: str) -> Path:
    """A program that was built."""
    manifest = DIST / "manifest.json"
    known: dict[str, dict[str, str]] = json.loads(manifest.read_text()) if manifest.exists() else {}
    found = DIST / known[name]["path"] if name in known else None
    if found is None or not found.exists():
        pytest.fail(f"dist/ has no {name}; run `make artifacts`")
    return found
