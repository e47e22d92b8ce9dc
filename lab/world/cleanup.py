"""Take a lab off the machine, whatever state it is in, and prove that it is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from lab.world import cgroup, disk, host, limits, mounts, netns, nspawn, process, services
from lab.world.command import NAMESPACES, run, until
from lab.world.errors import WorldError
from lab.world.state import State

_MARKS: Final = {"lock", "world.json", "clouds.db", "pulumi-home"}  # what labs have


def remove(state: State) -> list[str]:
    """End every process and give back everything of the lab; its folder stays.

    Works from the folder and the lab's prefix alone, also after a crash. A step that fails does
    not keep the others from being taken: what they complained of is returned.
    """
    complaints = []
    for step in _steps(state):
        try:
            step()
        except (WorldError, OSError) as error:
            complaints.append(str(error))
    return complaints


def _steps(state: State) -> Iterator[Callable[[], object]]:
    for found in host.every(state):
        yield found.power_off
    for name in services.ALL:
        yield partial(services.stop, state, name)
    yield partial(_end_strays, state)
    for namespace in netns.names(state.prefix):
        yield partial(netns.delete, namespace)
    yield partial(mounts.release, state.root)
    for device in disk.devices(state.root):
        yield partial(run, ["losetup", "--detach", device])
    yield partial(cgroup.kill, state.prefix)
    yield partial(cgroup.remove, state.prefix)
    yield nspawn.forget_all
    yield limits.restore_limit


def forget(state: State) -> None:
    """Delete the folder; WorldError when it is not a lab's or something is mounted in it."""
    if state.root.exists() and not is_ours(state):
        raise WorldError(f"{state.root} does not look like a lab's folder", "remove it by hand")
    mounts.remove_tree(state.root)


def is_ours(state: State) -> bool:
    """Whether the folder is empty or a lab's."""
    present = {path.name for path in state.root.iterdir()} if state.root.is_dir() else set()
    return not present or bool(present & _MARKS)


def leftovers(state: State) -> list[str]:
    """What is still on the machine of the lab, one line each; none after `remove`, `forget`."""
    found = [f"process {pid}" for pid in _strays(state)]
    found += [f"network namespace {name}" for name in netns.names(state.prefix)]
    found += [f"mount {path}" for path in mounts.mounted(state.root)]
    found += [f"loop device {device}" for device in disk.devices(state.root)]
    found += [f"control group {path}" for path in cgroup.paths(state.prefix) if path.exists()]
    found += [f"file {path}" for path in nspawn.left_behind(state.prefix)]
    return found + ([f"folder {state.root}"] if state.root.exists() else [])


def _end_strays(state: State) -> None:
    for pid in _strays(state):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    until(lambda: not _strays(state), within=20, what="end of the lab's processes")


def _strays(state: State) -> list[int]:
    """Processes in the lab's namespaces or groups."""
    ours = {f"net:[{(NAMESPACES / name).stat().st_ino}]" for name in netns.names(state.prefix)}
    inside = process.inhabitants("net", ours)
    return sorted({*inside, *cgroup.pids(state.prefix)} - {os.getpid()})
