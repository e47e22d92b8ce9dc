"""What goes wrong, in words for the person who asked.

MeshctlError              the rest is told as it stands
└── HostError             of one host: what was asked of it, what it said, what to do
    ├── UnreachableError  nothing was asked: it has no connection
    └── NotKnownError     the connection broke while the command ran: it may have been done
"""

from __future__ import annotations


class MeshctlError(Exception):
    """What to tell the operator; what was asked for was not done."""


class HostError(MeshctlError):
    """`host` did not do what was `asked`; `said` is its own word, `remedy` what to do next."""

    def __init__(self, host: str, *, asked: str, said: str, remedy: str = "") -> None:
        self.host, self.asked, self.said, self.remedy = host, asked, said, remedy
        lines = [f"{host}: {said}", f"  asked: {asked}"]
        super().__init__("\n".join([*lines, f"  do: {remedy}"] if remedy else lines))


class UnreachableError(HostError):
    """It could not be asked at all, maybe `because` another host on the way could not."""

    because: str = ""


class NotKnownError(HostError):
    """The connection ended before the answer."""
