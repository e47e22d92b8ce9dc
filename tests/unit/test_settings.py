"""Covers what a stack file may say. That the engine shows these errors: tests/engine."""

from __future__ import annotations

import pytest

from mesh import settings
from tests import stacks
from tests.bad_values import BAD_VALUES, BadValue


@pytest.mark.parametrize("stack", stacks.NAMES)
def test_every_committed_stack_is_valid(stack: str) -> None:
    assert stacks.load(stack).environment == stack


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: bad.title)
def test_a_bad_value_is_refused_with_key_value_and_what_is_allowed(bad: BadValue) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        stacks.load("prod", {bad.path: bad.value})

    message = str(refused.value)
    assert message.startswith("stacks/Pulumi.prod.yaml: "), "the file is named first"
    for words in bad.says:
        assert words in message, f"an operator must read {words!r}"


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(settings.SettingsError) as refused:
        stacks.load("prod", {"control.region": "nowhere", "relays.1.region_id": 900})

    assert "2 errors" in str(refused.value)


def test_a_missing_setting_says_what_it_is_for() -> None:
    values = stacks.values("prod")
    del values["dns"]

    with pytest.raises(settings.SettingsError, match="mesh:dns: missing; Public names"):
        settings.load(values, "stacks/Pulumi.prod.yaml")
