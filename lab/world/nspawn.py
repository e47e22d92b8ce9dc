"""How systemd-nspawn is told to play a cloud host, and what it leaves behind."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.world import guest
from lab.world.command import NAMESPACES

# Beyond what nspawn gives: firewalls, locked memory, and systemd's own sandboxing by BPF
# (IPAddressDeny=, DeviceAllow=). Not the clock and not modules: those are the machine's.
_CAPABILITIES: Final = "CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_BPF,CAP_PERFMON"
ENVIRONMENT: Final = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",  # as on Debian 12, also where this machine mixes
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",  # /proc/sys/net is the host's own
}
_RUNTIME: Final = Path("/run/systemd/nspawn")


def command(
    root: Path, machine: str, hostname: str, namespace: str, devices: Sequence[tuple[str, str]]
) -> list[str]:
    """The command line that boots the tree at `root`.

    `machine` names it on this machine, `hostname` to itself. `devices` are pairs of a device
    here and its name in the host.
    """
    disks = [f"--bind={device}:/dev/{name}" for device, name in devices]
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--settings=no",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
        f"--directory={root}",
        f"--machine={machine}",
        f"--hostname={hostname}",
        f"--network-namespace-path={NAMESPACES / namespace}",
        f"--capability={_CAPABILITIES}",
        "--system-call-filter=bpf @keyring",
        "--bind=/dev/net/tun",  # what a VPN client needs
        f"--bind-ro={guest.GENERATOR}:/run/systemd/system-generators/mount-data-disks",
        *disks,
    ]


def lock_file(root: Path) -> Path:
    """The lock nspawn holds on a tree; it stays when nspawn is killed."""
    found = root.stat()
    return _RUNTIME / "locks" / f"inode-{found.st_dev}:{found.st_ino}"


def forget(machine: str) -> None:
    """Remove what else nspawn leaves in /run when it is killed."""
    folder = _RUNTIME / "propagate" / machine
    if folder.is_dir():
        folder.rmdir()


def forget_all() -> None:
    """Remove nspawn's own folders when no machine uses them any more."""
    for folder in (*_RUNTIME.glob("*"), _RUNTIME):
        with contextlib.suppress(OSError):  # in use, or gone: both are right
            folder.rmdir()


def left_behind(prefix: str) -> list[Path]:
    """Files of machines whose name starts with `prefix`-."""
    return list(_RUNTIME.glob(f"*/{prefix}-*"))
