"""The guard's hold, from the side of whoever asks: Headscale stays stopped while this is open."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

from registry.trouble import RegistryError

SECONDS: Final = 20.0  # the transaction takes a fraction of one
ANSWER_SECONDS: Final = 15.0  # the guard gives Headscale time to end


class Hold:
    """A context in which Headscale does not run. RegistryError when the guard refuses."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_SECONDS)
        self._path = path

    def __enter__(self) -> Hold:
        try:
            self._socket.connect(str(self._path))
            said = self._ask(f"hold {SECONDS:g}")
        except OSError as error:
            self._socket.close()
            raise RegistryError(f"ask the guard to hold: {error}") from None
        if "held" not in said:
            self._socket.close()
            raise RegistryError(f"the guard does not hold: {said.get('refused', 'it went away')}")
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()  # which releases

    def left(self) -> float:
        """Seconds that Headscale surely stays stopped; 0 when the hold is over."""
        try:
            return float(self._ask("check").get("held", 0))
        except OSError:
            return 0

    def _ask(self, words: str) -> dict[str, Any]:
        self._socket.sendall(words.encode() + b"\n")
        with self._socket.makefile("r", encoding="utf-8") as answers:
            found: dict[str, Any] = json.loads(answers.readline() or "{}")
        return found
