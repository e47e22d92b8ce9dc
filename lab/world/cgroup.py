"""A control group for each host, so that everything in it can be killed at one stroke.

Works on pure cgroup v2 and on hybrid machines, where v2 is mounted aside and systemd-nspawn
copies the tree into the old `name=systemd` hierarchy.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from lab.world.command import until
from lab.world.errors import WorldError

_MOUNT: Final = Path("/sys/fs/cgroup")
_WANTED: Final = ("cpu", "io", "memory", "pids")


def _roots() -> list[Path]:
    """Where groups are made, the v2 hierarchy first."""
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT]
    if (_MOUNT / "unified/cgroup.controllers").exists():
        return [
            _MOUNT / "unified",
            *([_MOUNT / "systemd"] if (_MOUNT / "systemd").is_dir() else []),
        ]
    raise WorldError("no cgroup v2 hierarchy", "mount cgroup2 on /sys/fs/cgroup or below it")


def paths(group: str) -> list[Path]:
    """The group's folder in each hierarchy, the v2 hierarchy first."""
    return [root / group for root in _roots()]


def path(group: str) -> Path:
    """The group's folder in the v2 hierarchy."""
    return _roots()[0] / group


def create(group: str) -> None:
    """Make a group; v2 controllers are passed on to it as far as the machine has them."""
    for folder in paths(group):
        folder.mkdir(parents=True, exist_ok=True)
    _delegate(path(group).parent)
    _delegate(path(group))


def _delegate(parent: Path) -> None:
    available = (parent / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{name}" for name in _WANTED if name in available)
    if wanted:
        (parent / "cgroup.subtree_control").write_text(wanted)


def pids(group: str) -> list[int]:
    """Every process in the group and below it. Groups may go away meanwhile: os.walk bears it."""
    found: set[int] = set()
    for root in paths(group):
        for folder, _, files in os.walk(root):
            if "cgroup.procs" in files:
                with contextlib.suppress(OSError):  # it went away just now
                    text = Path(folder, "cgroup.procs").read_text()
                    found.update(int(line) for line in text.split())
    return sorted(found)


def kill(group: str) -> None:
    """SIGKILL everything in the group at once and return when nothing is left of it."""
    v2 = path(group)
    if not v2.is_dir():
        return
    (v2 / "cgroup.kill").write_text("1")
    until(
        lambda: "populated 0" in (v2 / "cgroup.events").read_text(),
        within=30,
        what=f"end of all processes of {group}",
        seen=lambda: str(pids(group)),
    )


def remove(group: str) -> None:
    """Remove the (empty) group and all groups below it."""
    for top in paths(group):
        for folder, _, _ in os.walk(top, topdown=False):
            Path(folder).rmdir()
