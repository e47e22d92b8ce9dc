"""Covers what an operator sees when a stack file is wrong: the real engine, a real preview."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab.engine import Engine
from tests import stacks
from tests.bad_values import BAD_VALUES, BadValue
from tests.engine.program import engine_of


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The program as it is, with stack files of the test's own."""
    return engine_of(tmp_path_factory.mktemp("bad-values"), {})


def _write(program: Path, changes: dict[str, object]) -> None:
    values = {f"mesh:{key}": value for key, value in stacks.changed("prod", changes).items()}
    (program / "stacks" / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": values}))


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: bad.title)
def test_a_bad_value_ends_the_preview_before_anything_is_asked_for(
    engine: Engine, bad: BadValue
) -> None:
    _write(engine.program, {bad.path: bad.value})

    preview = engine.run("preview", "--stack", "prod", timeout=60)

    said = preview.stdout + preview.stderr
    assert preview.returncode != 0
    for words in bad.says:
        assert words in said, f"an operator must read {words!r} in:\n{said}"
    assert "Traceback" not in said, "a wrong value is no bug of the program"
    assert engine.store.all() == [], "nothing may be created"
