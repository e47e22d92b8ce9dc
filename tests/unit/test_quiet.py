"""Covers which of the SDK's messages reach the engine."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field

import pulumi
import pytest
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import SETTINGS

from components import quiet


@dataclass
class Engine:
    """Remembers what it was told."""

    told: list[str] = field(default_factory=list)
    version: str = "3"

    def Log(self, request: engine_pb2.LogRequest) -> None:  # noqa: N802 - as gRPC names it
        self.told.append(request.message)


def _say(*say: Callable[[str], None]) -> Engine:
    """The engine after each of the calls has said "word"."""
    engine = Engine()

    def run() -> None:
        SETTINGS.engine = engine
        quiet.install()
        for call in say:
            call("word")

    contextvars.copy_context().run(run)  # the SDK's settings belong to a context
    return engine


def test_debug_messages_of_the_sdk_stay_in_the_program() -> None:
    assert _say(pulumi.log.debug).told == []


def test_every_other_message_is_sent() -> None:
    assert _say(pulumi.info, pulumi.warn, pulumi.error).told == ["word"] * 3


def test_debug_messages_are_sent_when_the_environment_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(quiet.VARIABLE, "1")

    assert _say(pulumi.log.debug).told == ["word"]


def test_all_else_is_answered_by_the_engine_itself() -> None:
    assert quiet.QuietEngine(Engine(version="4")).version == "4"
