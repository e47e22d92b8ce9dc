"""The one setting of the machine that a lab needs otherwise: how many inotify instances there may
be. Each booted host takes about ten of them; the kernel's usual 128 are too few for a dozen hosts,
and a host that gets none does not boot.

It is raised while any lab runs, and put back by the last one that stops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.world import netns
from lab.world.errors import WorldError

SETTING: Final = Path("/proc/sys/fs/inotify/max_user_instances")
BEFORE: Final = Path("/run/mesh-lab.inotify")  # what it was; memory, as the setting itself
NEEDED: Final = 4096
_ANY_LAB: Final = "lab"


def raise_limit() -> None:
    """Make room for many hosts. WorldError where the machine does not let us."""
    present = int(SETTING.read_text())
    if present >= NEEDED:
        return
    try:
        BEFORE.write_text(f"{present}\n")
        SETTING.write_text(f"{NEEDED}\n")
    except OSError as error:
        BEFORE.unlink(missing_ok=True)
        raise WorldError(
            f"cannot set {SETTING} to {NEEDED}: {error}",
            f"it is {present}; set it from outside, as root of the machine itself",
        ) from None


def restore_limit() -> None:
    """Put the earlier value back when no lab runs any more, and nobody else changed it."""
    if not BEFORE.exists() or netns.names(_ANY_LAB):
        return
    if int(SETTING.read_text()) == NEEDED:
        SETTING.write_text(BEFORE.read_text())
    BEFORE.unlink()
