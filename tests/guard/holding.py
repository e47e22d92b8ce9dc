"""A client of the guard's hold, as simple as it can be."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.guard import waiting


class Client:
    """One connection to a guard's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(waiting.PATIENCE)
        self._socket.connect(str(path))
        self._answers = self._socket.makefile("r", encoding="utf-8")

    def ask(self, words: str) -> dict[str, Any]:
        """The answer to a line; empty when the guard is gone."""
        self.say(words)
        found: dict[str, Any] = json.loads(self._answers.readline() or "{}")
        return found

    def say(self, words: str) -> None:
        self._socket.sendall(words.encode() + b"\n")

    def vanish(self) -> None:
        """As when its process dies."""
        self._answers.close()
        self._socket.close()
