"""The secrets of one stack, as plain values; they exist only inside an `apply`.

The components make them, keep them encrypted in the state, and pass them on standard input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate with its key and the authority that signed it, all PEM."""

    ca: str
    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ControlPasswords:
    """Passwords of one control host's own database roles, 32 letters and digits each."""

    headscale: str = field(repr=False)
    guard: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class DatabasePasswords:
    """Passwords of the database roles, 32 letters and digits each; `controls` by host."""

    superuser: str = field(repr=False)
    replication: str = field(repr=False)
    rewind: str = field(repr=False)
    controls: Mapping[str, ControlPasswords] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ArtifactSource:
    """Where a program is fetched from and what its content must hash to."""

    url: str
    sha256: str
