"""Programs of this machine: run them, here or in a network namespace, and wait for conditions."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.world.errors import CommandError, DeadlineError, WorldError

POLL_SECONDS: Final = 0.02  # conditions of the kernel have no common event to wait for
NAMESPACES: Final = Path("/run/netns")  # where iproute2 keeps named network namespaces


@dataclass(frozen=True)
class Done:
    """A program that ended: exit status and what it printed."""

    status: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str],
    *,
    stdin: str | bytes = "",
    check: bool = True,
    within: float | None = 120,
    env: Mapping[str, str] | None = None,
) -> Done:
    """The program's result. CommandError on a bad status (unless `check` is off), DeadlineError
    after `within` seconds, WorldError when the program is not installed.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        ended = subprocess.run(
            list(command), input=data, capture_output=True, timeout=within, env=env, check=False
        )
    except FileNotFoundError as error:
        raise WorldError(
            f"{command[0]} is not installed", "`python -m lab start` names what the lab needs"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(f"{' '.join(command)}: still running after {within} s") from error
    stdout, stderr = (text.decode(errors="replace") for text in (ended.stdout, ended.stderr))
    if check and ended.returncode != 0:
        raise CommandError(command, ended.returncode, stdout, stderr)
    return Done(ended.returncode, stdout, stderr)


def inside(namespace: str, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in a named network namespace."""
    return ["nsenter", f"--net={NAMESPACES / namespace}", *command]


def ip(namespace: str, *lines: str, family: int | None = None) -> None:
    """Apply lines of iproute2, such as "link set lo up", in a namespace; stops at the first
    that fails. Where a line names no address, `family` says which is meant: 4 or 6.
    """
    if lines:
        command = ["ip", *([f"-{family}"] if family else []), "-n", namespace, "-batch", "-"]
        run(command, stdin="\n".join(lines) + "\n")


def until(
    holds: Callable[[], bool],
    *,
    within: float,
    what: str,
    poll: float = POLL_SECONDS,
    seen: Callable[[], str] = str,
) -> None:
    """Return once `holds()`; DeadlineError after `within` seconds, saying `what` was awaited and
    what `seen()` last showed. An exception out of `holds` ends the wait.
    """
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            last = seen()
            raise DeadlineError(
                f"{what}: not within {within:g} s" + (f"; last: {last}" if last else "")
            )
        time.sleep(poll)
