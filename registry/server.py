"""The running Headscale, by its own command line: version 0.29's words and answers."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any, Final

from registry.place import Place
from registry.trouble import RegistryError

ANSWER_SECONDS: Final = 30  # the program itself gives a call five


class Headscale:
    """What `headscale` says on this host. Everything raises RegistryError with its words."""

    def __init__(self, place: Place) -> None:
        self._command = (place.headscale, "--config", str(place.config))

    def run(self, doing: str, *words: str) -> str:
        """Standard output of one command; `doing` begins the message when it fails."""
        try:
            done = subprocess.run(
                [*self._command, *words],
                capture_output=True,
                text=True,
                check=False,
                timeout=ANSWER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise RegistryError(f"{doing}: no answer within {ANSWER_SECONDS} s") from None
        if done.returncode:
            raise RegistryError(f"{doing}: {_reason(done)}")
        return done.stdout

    def answer(self, doing: str, *words: str) -> Any:
        """The JSON answer of one command."""
        return json.loads(self.run(doing, "-o", "json", *words) or "null")

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """All users, nodes, preauthkeys or apikeys; an empty list comes as null."""
        found: list[dict[str, Any]] = self.answer(f"list the {kind}", kind, "list") or []
        return found

    def users(self) -> dict[str, int]:
        """The id of every user by name; tagged devices have a user that is none."""
        return {user["name"]: user["id"] for user in self.listed("users") if "name" in user}

    def policy(self) -> str:
        """The policy's text; empty when none was ever set."""
        try:
            return self.run("read the policy", "policy", "get")
        except RegistryError as trouble:
            if "not found" in str(trouble):
                return ""
            raise

    def set_policy(self, text: str) -> None:
        """Check it, then set it."""
        with tempfile.NamedTemporaryFile("w", suffix=".hujson", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            self.run("check the policy", "policy", "check", "--file", file.name)
            self.run("set the policy", "policy", "set", "--file", file.name)


def seconds(moment: Any) -> float:
    """Headscale's {"seconds", "nanos"} as seconds since the epoch; 0 when it says nothing."""
    return float((moment or {}).get("seconds", 0))


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last lines of a failed command's errors."""
    lines: Sequence[str] = [line for line in done.stderr.splitlines() if line.strip()]
    return " ".join(lines[-3:]) or f"exit status {done.returncode}"
