"""Network namespaces, named under /run/netns as iproute2 does."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Final, TypeVar

from lab.world.command import NAMESPACES, inside, run
from lab.world.errors import WorldError

_CLONE_NEWNET: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
Result = TypeVar("Result")


def create(name: str, sysctls: Mapping[str, int] = MappingProxyType({})) -> None:
    """A new namespace with its loopback up and these kernel parameters."""
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])
    set_sysctls(name, sysctls)


def set_sysctls(name: str, sysctls: Mapping[str, int]) -> None:
    """Set kernel parameters of a namespace, such as {"net.ipv4.ip_forward": 1}."""
    if sysctls:
        settings = [f"{key}={value}" for key, value in sysctls.items()]
        run(inside(name, ["sysctl", "-qw", *settings]))


def delete(name: str) -> None:
    """Remove a namespace with all its interfaces; nothing happens when there is none."""
    if exists(name):
        run(["ip", "netns", "delete", name])


def exists(name: str) -> bool:
    """Whether a namespace of that name is there."""
    return (NAMESPACES / name).exists()


def names(prefix: str) -> list[str]:
    """Every namespace whose name starts with `prefix`-."""
    if not NAMESPACES.is_dir():
        return []
    return sorted(path.name for path in NAMESPACES.iterdir() if path.name.startswith(f"{prefix}-"))


def enter(name: str) -> None:
    """Move the calling thread into a namespace, for good: sockets it opens belong there."""
    descriptor = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise WorldError(f"cannot enter {name}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def call(name: str, function: Callable[[], Result]) -> Result:
    """The function's result, computed in a thread of its own inside the namespace."""

    def work() -> Result:
        enter(name)
        return function()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(work).result()
