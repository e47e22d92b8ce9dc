"""The stack's settings, as the engine hands them over."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi.runtime import config as engine

from mesh import settings
from mesh.settings import Settings


def load() -> Settings:
    """The settings of the current stack; every fault ends the run before anything is declared."""
    project = pulumi.get_project()
    raw = engine.get_config_env() | dict(engine.CONFIG.get())
    prefix = f"{project}:"
    values = {
        key.removeprefix(prefix): _value(text)
        for key, text in raw.items()
        if key.startswith(prefix)
    }
    try:
        return settings.load(values, f"stacks/Pulumi.{pulumi.get_stack()}.yaml")
    except settings.SettingsError as error:
        raise pulumi.RunError(str(error)) from error


def _value(text: Any) -> Any:
    """The engine gives plain strings as they are, and everything else as JSON."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, TypeError):
        return text
