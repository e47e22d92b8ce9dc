"""A thread that looks at something again and again."""

from __future__ import annotations

import threading
import time


class Sampler:
    """Looks every `each` seconds from `start` to `stop`. What a look raises ends it and is kept
    in `failure`, for whoever reads the samples.
    """

    def __init__(self, name: str, each: float) -> None:
        self.name = name
        self.failure: BaseException | None = None
        self._each = each
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when the last look is over."""
        self._over.set()
        self._thread.join()

    def prepare(self) -> None:
        """What is to be done first, in the thread itself."""

    def look(self) -> None:
        """One sample."""
        raise NotImplementedError

    def finish(self) -> None:
        """What is to be done last, in the thread itself."""

    def _run(self) -> None:
        try:
            self.prepare()
            while not self._over.is_set():
                began = time.monotonic()
                self.look()
                self._over.wait(max(0.0, self._each - (time.monotonic() - began)))
        except BaseException as error:
            self.failure = error
        finally:
            self.finish()
