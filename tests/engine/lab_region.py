"""One region of one simulated cloud, and the tables of what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.region import RefusedError, Region

__all__ = ["PUBLIC_KEY", "Case", "Known", "RefusedError", "Region", "case_ids"]

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl lab"
Known = dict[str, str]
# (why, resource type, inputs from what is known, the property that must be named)
Case = tuple[str, str, Callable[[Known], dict[str, Any]], str]


def case_ids(value: object) -> str:
    """The reason names a case; the rest of the row says nothing to a reader."""
    return value if isinstance(value, str) and " " in value else ""
