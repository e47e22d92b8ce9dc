"""Helpers for values that are known only later."""

from __future__ import annotations

from typing import TypeVar

import pulumi

T = TypeVar("T")


def secret(value: pulumi.Output[T]) -> pulumi.Output[T]:
    """The same value, encrypted in the state and hidden wherever it is shown."""
    hidden: pulumi.Output[T] = pulumi.Output.secret(value)
    return hidden
