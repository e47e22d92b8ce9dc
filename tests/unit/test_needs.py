"""Covers what is said where this machine lacks what a test needs: never a pass, never a skip."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs


def test_a_missing_program_is_a_failure_that_names_what_installs_it() -> None:
    with pytest.raises(pytest.fail.Exception, match="has no no-such-program; run `make setup`"):
        needs.programs("sh", "no-such-program")


@pytest.mark.parametrize("manifest", [None, "{}", '{"lego": {"path": "gone/lego"}}'])
def test_a_program_that_was_not_built_is_a_failure_that_names_what_builds_it(
    manifest: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "DIST", tmp_path)
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)

    with pytest.raises(pytest.fail.Exception, match="has no lego; run `make artifacts`"):
        needs.artifact("lego")


def test_a_program_that_was_built_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "DIST", tmp_path)
    (tmp_path / "manifest.json").write_text('{"lego": {"path": "lego"}}')
    (tmp_path / "lego").touch()

    assert needs.artifact("lego") == tmp_path / "lego"
