"""Block devices of hosts: sparse files behind loop devices."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lab.world.command import run


def create(path: Path, gigabytes: int) -> None:
    """A sparse file of that size; it takes room as it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.truncate(gigabytes << 30)


def grow(path: Path, gigabytes: int) -> None:
    """Enlarge a file and the device that stands for it; a smaller size changes nothing."""
    if path.stat().st_size < gigabytes << 30:
        os.truncate(path, gigabytes << 30)
        for device in devices(path):
            run(["losetup", "--set-capacity", device])


def attach(path: Path) -> str:
    """The loop device of a file, "/dev/loop3"; the same one when it has one already."""
    for device in devices(path):
        return device
    return run(["losetup", "--find", "--show", "--nooverlap", str(path)]).stdout.strip()


def detach(path: Path) -> None:
    """Free the file's loop device, if it has one."""
    for device in devices(path):
        run(["losetup", "--detach", device])


def devices(below: Path) -> list[str]:
    """The loop devices of a file, or of every file in a folder."""
    known = run(["losetup", "--list", "--json", "--output=NAME,BACK-FILE"]).stdout
    loops = json.loads(known)["loopdevices"] if known.strip() else []
    wanted = below.resolve()
    return [
        loop["name"]
        for loop in loops
        if loop["back-file"]
        and Path(loop["back-file"].removesuffix(" (deleted)")).is_relative_to(wanted)
    ]
