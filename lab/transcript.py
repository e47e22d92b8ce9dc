"""What a command writes: kept for the outputs, told line by line to the engine if allowed."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from typing import Any, Final

_CHUNK: Final = 65536  # bytes
_LOGGED: Final = {
    "stdout": {"stdout"},
    "stderr": {"stderr"},
    "stdoutAndStderr": {"stdout", "stderr"},
    "none": set[str](),
}


class Transcript:
    """Collects both streams of one command.

    `logging` is the input of that name. `log` and `warn` each take one line.
    """

    def __init__(
        self, logging: str | None, log: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._logged = _LOGGED[logging or "stdoutAndStderr"]
        self._log = log
        self.warn = warn
        self._streams = {"stdout": "", "stderr": ""}
        self._both = ""

    async def copy(self, stream: str, reader: Any) -> None:
        """Take in a stream of bytes to its end."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        line = ""
        while chunk := await reader.read(_CHUNK):
            text = decoder.decode(chunk)
            self._streams[stream] += text
            self._both += text
            if stream in self._logged:
                *lines, line = (line + text).split("\n")
                for complete in lines:
                    self._log(complete)
        if line:
            self._log(line)

    def outputs(self) -> dict[str, str]:
        """stdout and stderr, each without its last newline."""
        return {name: text.removesuffix("\n") for name, text in self._streams.items()}

    def failure(self, reason: str, command: str) -> str:
        """The real plugin's words for a failed command; standard input is not in them."""
        return f"{reason}: running {json.dumps(command, ensure_ascii=False)}:\n{self._both}"
