"""Keeps the SDK's own debug messages to itself.

The SDK tells the engine of every step of every registration, and waits for each answer: some
thousand round trips a preview, which the engine throws away unless it runs with `--debug`. The
program cannot see that flag, so whoever wants the messages also sets MESH_SDK_DEBUG=1.
"""

from __future__ import annotations

import os
from typing import Any, Final

from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import SETTINGS

VARIABLE: Final = "MESH_SDK_DEBUG"


class QuietEngine:
    """The SDK's connection to the engine, but for debug messages: those go nowhere."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def Log(self, request: engine_pb2.LogRequest) -> None:  # noqa: N802 - as gRPC names it
        """What the SDK calls for a message of any severity."""
        if request.severity != engine_pb2.DEBUG:
            self._engine.Log(request)


def install() -> None:
    """From now on send no debug messages, unless the environment asks for them."""
    if SETTINGS.engine is not None and not os.environ.get(VARIABLE):
        SETTINGS.engine = QuietEngine(SETTINGS.engine)
