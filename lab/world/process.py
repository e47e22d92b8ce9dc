"""Processes that outlive whoever starts them and are found again from the state folder."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lab.world.command import run, until
from lab.world.errors import WorldError
from lab.world.state import read_json, write_json

# $0: where the number goes, $1: the log, the rest: the program.
_DETACHED: Final = (
    'cd /; exec >>"$1" 2>&1 </dev/null; echo $$ >"$0.new"; mv "$0.new" "$0"; shift; exec "$@"'
)


@dataclass(frozen=True)
class Process:
    """One process, told apart from a later one of the same number by when it started."""

    pid: int
    started: int  # clock ticks since the machine booted

    def alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] != "Z" and int(fields[19]) == self.started

    def children(self) -> list[int]:
        """The processes it started itself."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [int(word) for word in text.split()] if self.alive() else []

    def end(self, number: signal.Signals = signal.SIGTERM, within: float = 10) -> None:
        """Signal it and return when it has ended; SIGKILL when it has not `within` seconds."""
        if not self._signalled(number, within):
            self._signalled(signal.SIGKILL, within)

    def _signalled(self, number: signal.Signals, within: float) -> bool:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():
                return True
            signal.pidfd_send_signal(descriptor, number)
            return bool(select.select([descriptor], [], [], within)[0])
        except ProcessLookupError:
            return True
        finally:
            os.close(descriptor)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the command, from the process's state on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def current(pid: int) -> Process | None:
    """The process that has this number now."""
    fields = _stat(pid)
    return Process(pid, int(fields[19])) if fields else None


def namespace_of(pid: int, kind: str) -> str | None:
    """A process's namespace of a kind ("pid", "net") as /proc names it; None when it ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def inhabitants(kind: str, namespaces: Collection[str]) -> list[int]:
    """The processes that live in one of these namespaces, zombies left out."""
    everyone = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    inside = (pid for pid in everyone if namespace_of(pid, kind) in namespaces)
    return sorted(pid for pid in inside if (found := current(pid)) and found.alive())


def spawn(
    command: Sequence[str],
    *,
    record: Path,
    log: Path,
    env: Mapping[str, str] = MappingProxyType({}),
) -> Process:
    """Start a program in a session of its own, its output appended to `log`.

    It belongs to init from the start, so it survives this process and leaves no zombie to it.
    `record` is where `recorded` finds it. Its environment is `env` and PATH alone: what starts it
    may hold secrets in its own.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    number = record.with_suffix(".pid")
    number.unlink(missing_ok=True)
    shell = ["sh", "-ec", _DETACHED, str(number), str(log), *command]
    run(["setsid", "--fork", *shell], env={"PATH": os.environ.get("PATH", os.defpath)} | {**env})
    until(number.exists, within=10, what=f"start of {command[0]}")
    process = current(int(number.read_text()))
    number.unlink()
    if process is None:
        raise WorldError(f"{command[0]} ended at once", f"its output: {log}")
    write_json(record, asdict(process))
    return process


def recorded(record: Path) -> Process | None:
    """The process that `spawn` recorded there, running or not."""
    found: dict[str, Any] | None = read_json(record)
    return Process(**found) if found else None
