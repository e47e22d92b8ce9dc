"""The Debian tree that hosts boot from: what Debian's own generic cloud image has.

Built once with mmdebstrap from the archives in this machine's apt configuration and kept in the
cache under a hash of its definition. The packages are those of debian-cloud-images (classes
SYSTEM_BOOT, CLOUD, GENERIC and EXTRAS for bookworm). What differs from the real image:

- no kernel, boot loader, initramfs, nor what serves them (apparmor, growroot): hosts share this
  machine's kernel;
- udev's, timesyncd's and other units that need hardware pass themselves over, as they do in any
  container;
- one more CA is trusted, the lab's public test CA;
- apt asks this machine's archives, not deb.debian.org through mirror lists.

Packages baked in on request make a "golden" image, as users make with Packer.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.world import apt, guest, mounts
from lab.world.authority import Authority, authority
from lab.world.errors import WorldError
from lab.world.state import cache

SUITE: Final = "bookworm"

PACKAGES: Final = (
    # A system that boots and that one can log in to (SYSTEM_BOOT; `required` is the base)
    *("init", "systemd-sysv", "dbus", "udev", "libpam-systemd", "polkitd", "sudo", "kmod"),
    *("systemd-resolved", "libnss-myhostname", "netplan.io", "systemd-timesyncd"),
    *("unattended-upgrades", "apt-utils", "debconf-i18n", "zstd", "locales", "whiptail"),
    *("iproute2", "iptables", "iputils-ping", "netbase", "procps", "less", "nano", "vim-tiny"),
    *("cron", "dmidecode", "fdisk", "gdisk", "logrotate", "python3", "tzdata", "wget"),
    # A cloud's guest (CLOUD, GENERIC)
    *("openssh-server", "ssh-import-id", "cloud-init", "cloud-guest-utils"),
    # What administrators expect (EXTRAS)
    *("apt-listchanges", "bash-completion", "bind9-host", "ca-certificates", "curl", "ethtool"),
    *("man-db", "manpages", "pciutils", "psmisc", "reportbug", "screen", "socat", "tcpdump"),
    *("traceroute", "uuid-runtime", "vim", "xz-utils"),
)

# What the build mounts and starts goes with it, and the build goes with this process.
_APART: Final = (
    *("nice", "-n", "10", "setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"),
)

Report = Callable[[str], None]


def ensure(extra: Sequence[str] = (), report: Report = lambda _: None) -> Path:
    """The tree's folder, built first when it is not there (about 100 s on two cores).

    `extra` are packages to bake in. `report` is told each step. WorldError with the end of
    mmdebstrap's output when the build fails; an interrupted build leaves nothing.
    """
    ca = authority()
    definition = _definition(ca, extra)
    key = hashlib.sha256(json.dumps(definition).encode()).hexdigest()[:12]
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{key}.lock"):
        if not (folder / key).is_dir():
            _build(folder / key, ca, extra, report)
    return folder / key


def _definition(ca: Authority, extra: Sequence[str]) -> list[object]:
    archives = apt.as_text(apt.sources())
    steps = guest.FINISH.read_text()
    return [SUITE, PACKAGES, sorted(extra), archives, steps, ca.fingerprint]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _build(final: Path, ca: Authority, extra: Sequence[str], report: Report) -> None:
    partial = final.with_suffix(".partial")
    mounts.remove_tree(partial)  # of a build that was killed
    try:
        _mmdebstrap(partial, ca, extra, report)
        partial.rename(final)
    finally:
        mounts.remove_tree(partial)


def _mmdebstrap(tree: Path, ca: Authority, extra: Sequence[str], report: Report) -> None:
    archives = apt.as_text(apt.sources())
    command = [
        *_APART,
        "mmdebstrap",
        "--variant=required",
        "--aptopt=APT::Install-Recommends false",
        f'--aptopt=Acquire::http::Proxy "{apt.proxy()}"',
        f"--include={','.join([*PACKAGES, *extra])}",
        f"--customize-hook={guest.FINISH}",
        SUITE,
        str(tree),
        "-",
    ]
    status, said = _follow(command, archives, ca, report)
    if status != 0:
        raise WorldError("the image could not be built", "\n".join(said[-20:]))


def _follow(
    command: Sequence[str], archives: str, ca: Authority, report: Report
) -> tuple[int, list[str]]:
    """Run the build to its end, or until this process is interrupted; its status and output."""
    environment = os.environ | {"LAB_SOURCES": archives, "LAB_CA": str(ca.certificate)}
    said: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as builder:
        if builder.stdin is None or builder.stderr is None:
            raise WorldError("mmdebstrap was started without pipes")
        try:
            builder.stdin.write(archives)
            builder.stdin.close()
            for line in builder.stderr:
                said.append(line.rstrip())
                if line.startswith("I: "):
                    report(line.removeprefix("I: ").rstrip().rstrip("."))
        except BaseException:
            builder.kill()
            builder.stderr.read()  # ends when the last process of the build has
            raise
    return builder.returncode, said
