"""The other end of mesh-load (artifacts/load), which runs the virtual nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Final, Literal, Self

_END_WITHIN: Final = 60.0  # s
_LAST_WORDS: Final = 10  # lines of its complaints that are kept
Condition = Literal["streaming", "settled", "marked"]


class ToolError(Exception):
    """The tool said no, or nothing any more."""


@dataclass(frozen=True)
class Wave:
    """Nodes that were told to join; seconds from `began` until each was registered."""

    began: float
    ended: float
    after: Mapping[str, float]
    failed: Mapping[str, str]


@dataclass(frozen=True)
class Waited:
    """When nodes met a condition, in seconds and in order; `missing` names some that did not."""

    nodes: int
    after: tuple[float, ...]
    missing: tuple[str, ...]
    lacking: int
    ended: float


@dataclass(frozen=True)
class Report:
    """Counts of the whole run so far; drops since the time that was asked for."""

    nodes: int
    streaming: int
    settled: int
    wrong_nodes: int  # that have no stream, or do not see exactly whom they must
    wrong: Mapping[
        str, Mapping[str, Any]
    ]  # some of them: missing and extra peers, streaming or not
    drops_since: Mapping[str, int]  # streams that ended by themselves, by reason
    troubles: Mapping[str, int]
    peers_seen: int  # over all nodes
    counts: Mapping[str, int]  # messages, peers sent, patches, streams
    cpu_s: float  # the tool's own
    peak_rss_mib: float
    descriptors: int


def _quiet(line: Mapping[str, Any]) -> None:
    """Nobody watches."""


@dataclass
class Tool:
    """The virtual nodes of one machine. Leaving it ends them; the server keeps their nodes."""

    line: Sequence[str]  # the command line that runs mesh-load
    trust: str = ""  # a file of authorities, where not the machine's own count
    hear: Callable[[Mapping[str, Any]], None] = _quiet  # takes progress
    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _words: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_WORDS), init=False)
    _listener: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        if self._stopped:
            raise ToolError("stopped before it began")
        trust = {"SSL_CERT_FILE": self.trust} if self.trust else {}
        self._process = subprocess.Popen(
            list(self.line),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **trust},
        )
        self._listener = threading.Thread(target=self._listen, args=[self._process.stderr])
        self._listener.start()
        try:
            self._read()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def stop(self) -> None:
        """End it from another thread, for good; whoever waits for an answer gets a ToolError."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()

    def open(self, server: str) -> None:
        """Which server the nodes join."""
        self._ask("open", server=server)

    def join(
        self, keys: Mapping[str, str], nodes: Mapping[str, str], at_once: int, within: float
    ) -> Wave:
        """Bring nodes in, each by one of the keys. Whoever is not in by then is given up."""
        named = [{"name": name, "key": key} for name, key in nodes.items()]
        told = self._ask("join", keys=keys, nodes=named, at_once=at_once, within=within)
        return Wave(**told)

    def expect(self, classes: Mapping[str, str], sees: Mapping[str, Collection[str]]) -> None:
        """Whom every node must see from now on: a class by node, the classes seen by class."""
        self._ask("expect", **{"class": classes}, sees={c: sorted(o) for c, o in sees.items()})

    def mark(self, text: str) -> None:
        """Look for a text in what the server sends from now on."""
        self._ask("mark", text=text)

    def wait(self, condition: Condition, since: float, within: float) -> Waited:
        """Returns when all nodes meet a condition, or after `within` seconds."""
        return _waited(self._ask("wait", **{"for": condition}, since=since, within=within))

    def wait_quiet(self, since: float, quiet: float, within: float) -> Waited:
        """Returns when nothing came for `quiet` seconds; `after` has the last message's time."""
        words = {"for": "quiet", "quiet": quiet}
        return _waited(self._ask("wait", **words, since=since, within=within))

    def report(self, since: float) -> Report:
        """What was counted."""
        told = self._ask("report", since=since)
        own = told["own"]
        counts = ("messages", "peers_sent", "patches", "streams", "register_errors")
        same = ("nodes", "streaming", "settled", "wrong_nodes", "wrong", "drops_since", "troubles")
        return Report(
            **{name: told[name] for name in same},
            peers_seen=told["peers_seen"],
            counts={name: told[name] for name in counts},
            cpu_s=own["cpu_s"],
            peak_rss_mib=own["peak_rss_kib"] / 1024,
            descriptors=own["descriptors"],
        )

    def end(self, names: Collection[str] = (), *, logout: bool = False) -> Mapping[str, str]:
        """End these nodes, or all. Who logs out is told to the server; the answer is who failed."""
        told = self._ask("end", names=list(names), logout=logout, at_once=16)
        failed: Mapping[str, str] = told["failed"]
        return failed

    def _ask(self, do: str, **words: Any) -> Any:
        if self._process is None or self._process.stdin is None:
            raise ToolError("mesh-load was not started")
        with suppress(BrokenPipeError):  # reading tells why
            self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        return self._read()

    def _read(self) -> Any:
        assert self._process and self._process.stdout
        for line in self._process.stdout:
            told = json.loads(line)
            if "trouble" in told:
                raise ToolError(told["trouble"])
            if "answer" in told:
                return told["answer"]
            self.hear(told)
        if self._listener:
            self._listener.join(_END_WITHIN)
        raise ToolError(f"mesh-load ended: {' '.join(self._words)}")

    def _listen(self, errors: IO[str]) -> None:
        """Read what it complains of, so that it never waits for somebody who does."""
        for line in errors:
            self._words.append(line.strip())

    def _end(self) -> None:
        """The end of its input ends the program and every node."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin and process.stdout
        late = threading.Timer(_END_WITHIN, process.kill)
        late.start()
        with process:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.read()  # else it might wait for somebody who reads
            if self._listener:
                self._listener.join()
        late.cancel()
        if process.returncode == -signal.SIGKILL:
            raise ToolError(f"mesh-load did not end within {_END_WITHIN:g} s")


def _waited(told: Mapping[str, Any]) -> Waited:
    return Waited(**{**told, "after": tuple(told["after"]), "missing": tuple(told["missing"])})
