"""Covers the one setting of the machine that a lab raises: it comes back when the last lab goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.world import limits, netns


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the kernel's file, with the kernel's usual value."""
    file = tmp_path / "max_user_instances"
    file.write_text("128\n")
    monkeypatch.setattr(limits, "SETTING", file)
    monkeypatch.setattr(limits, "BEFORE", tmp_path / "before")
    return file


def labs(setting: Path, monkeypatch: pytest.MonkeyPatch, *namespaces: str) -> None:
    """The machine's network namespaces."""
    folder = setting.parent / f"netns-{len(namespaces)}"
    folder.mkdir()
    for name in namespaces:
        (folder / name).touch()
    monkeypatch.setattr(netns, "NAMESPACES", folder)


def test_the_last_lab_puts_back_what_the_first_one_raised(
    setting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits.raise_limit()
    limits.raise_limit()  # a second lab
    raised = int(setting.read_text())
    labs(setting, monkeypatch, "lab-123456-internet")
    limits.restore_limit()
    while_one_runs = int(setting.read_text())
    labs(setting, monkeypatch)
    limits.restore_limit()

    assert (raised, while_one_runs, int(setting.read_text())) == (4096, 4096, 128)


def test_a_limit_that_is_high_enough_is_left_alone(
    setting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.write_text("8192\n")
    limits.raise_limit()
    labs(setting, monkeypatch)
    limits.restore_limit()

    assert setting.read_text() == "8192\n"


def test_a_value_that_somebody_else_set_meanwhile_stays(
    setting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits.raise_limit()
    setting.write_text("1000\n")
    labs(setting, monkeypatch)
    limits.restore_limit()

    assert setting.read_text() == "1000\n"
