"""Whether anything lives behind an address: connections are attempted, and nothing is said."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Final, Literal

KNOCK_SECONDS: Final = 0.7  # neighbours answer within milliseconds; TCP itself asks again after 1 s
# Nobody has that address any more, says a neighbour of it; all other errors come from somebody
# who lives, or from this host's own network, and prove nothing.
_NOBODY: Final = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT)

Answer = Literal["silent", "alive", "unknown"]


def knock(places: Sequence[str], seconds: float = KNOCK_SECONDS) -> dict[str, Answer]:
    """What each place, `host:port`, answers within so many seconds, all asked side by side. A
    refusal is an answer: only a host that lives refuses.
    """
    answers: dict[str, Answer] = {}
    with selectors.DefaultSelector() as waiting:
        for place in places:
            _begin(place, waiting, answers)
        deadline = time.monotonic() + seconds
        while waiting.get_map():
            # A last time when the time is over: this process may have slept, and the answer come.
            ready = waiting.select(max(0.0, deadline - time.monotonic()))
            for key, _ in ready:
                answers[key.data] = _end(waiting, key)
            if not ready and time.monotonic() >= deadline:
                break
        for key in list(waiting.get_map().values()):
            _end(waiting, key)
            answers[key.data] = "silent"
    return answers


def _begin(place: str, waiting: selectors.BaseSelector, answers: dict[str, Answer]) -> None:
    host, _, port = place.rpartition(":")
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    try:
        code = made.connect_ex((host, int(port)))
    except OSError:  # the name is not known
        code = errno.EIO
    if code in (0, errno.EINPROGRESS):
        waiting.register(made, selectors.EVENT_WRITE, place)
    else:
        made.close()
        answers[place] = _meaning(code)


def _end(waiting: selectors.BaseSelector, key: selectors.SelectorKey) -> Answer:
    made = key.fileobj
    assert isinstance(made, socket.socket)
    waiting.unregister(made)
    code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    made.close()
    return _meaning(code)


def _meaning(code: int) -> Answer:
    if code in (0, errno.ECONNREFUSED, errno.ECONNRESET):
        return "alive"
    return "silent" if code in _NOBODY else "unknown"
