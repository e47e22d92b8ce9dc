"""What goes wrong in mesh-registry."""

from __future__ import annotations

from typing import Final

ELSEWHERE: Final = 3  # exit status: Headscale runs on the other control host, or nowhere


class RegistryError(Exception):
    """What to tell the operator; `status` is the program's exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status
