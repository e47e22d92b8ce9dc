"""What can go wrong in the lab's world.

WorldError            anything below; the message is for a person, `hint` says what to do
├── CommandError     a program ended with a status other than 0
├── DeadlineError          a condition did not hold in time; carries the last observation
└── HostError        a host died or did not come up; carries the tail of its console
"""

from __future__ import annotations

from collections.abc import Sequence


class WorldError(Exception):
    """The world cannot do what was asked."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint


class CommandError(WorldError):
    """A program ended with a status other than 0; its output is kept."""

    def __init__(self, command: Sequence[str], status: int, stdout: str, stderr: str) -> None:
        said = (stderr.strip() or stdout.strip())[-2000:]
        super().__init__(f"{' '.join(command)}: status {status}: {said}")
        self.command = list(command)
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


class DeadlineError(WorldError):
    """A condition did not hold before its deadline."""


class HostError(WorldError):
    """A host died or did not come up; `console` holds the last lines it printed."""

    def __init__(self, host: str, reason: str, console: str) -> None:
        super().__init__(f"{host}: {reason}\nlast lines of its console:\n{console}")
        self.host = host
        self.reason = reason
        self.console = console
