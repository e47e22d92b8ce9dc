"""The root file system of a host: its image below, what it wrote above."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.world.command import run
from lab.world.errors import WorldError


def overlay(image: Path, folder: Path) -> None:
    """Mount <folder>/root from the image and <folder>/upper; nothing happens when it is."""
    root, upper, work = folder / "root", folder / "upper", folder / "work"
    if str(root.resolve()) in mounted(root):
        return
    for path in (root, upper, work):
        path.mkdir(parents=True, exist_ok=True)
    upper.chmod(0o755)
    # `volatile` saves every fsync of the root disk (apt makes thousands). It marks the work
    # folder, so that nobody trusts it after a crash of this machine; a crash of the host in it
    # is harmless, as what it wrote is in the page cache.
    shutil.rmtree(work / "work" / "incompat" / "volatile", ignore_errors=True)
    options = f"lowerdir={image},upperdir={upper},workdir={work},volatile"
    run(["mount", "-t", "overlay", "-o", options, "overlay", str(root)])


def release(below: Path) -> None:
    """Unmount everything mounted in a folder."""
    for path in reversed(mounted(below)):
        run(["umount", path])


def remove_tree(folder: Path) -> None:
    """Delete a folder; WorldError when something is mounted in it, for that is not the lab's.

    Nothing happens when there is no such folder.
    """
    if found := mounted(folder):
        raise WorldError(f"still mounted: {', '.join(found)}", f"so {folder} was not deleted")
    if folder.exists():
        shutil.rmtree(folder)


def mounted(below: Path) -> list[str]:
    """Every mount point in a folder, outer ones first."""
    wanted = below.resolve()
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [_unescape(line.split()[4]) for line in lines]
    return [point for point in points if Path(point).is_relative_to(wanted)]


def _unescape(path: str) -> str:
    """The kernel writes blanks and backslashes of a path in octal."""
    return path.encode().decode("unicode_escape").encode("latin-1").decode()
