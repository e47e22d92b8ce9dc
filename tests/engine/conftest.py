"""Fixtures of the tests that run the real engine over API-only simulated clouds."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import engine

_DIST = Path(__file__).parents[2] / "dist"
_BINARIES = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec")

ProgramMaker = Callable[[str], engine.Engine]


@pytest.fixture(scope="session")
def lab_dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's binaries on the file system of the tests, so that each state can link them."""
    manifest = json.loads((_DIST / "manifest.json").read_text())
    missing = [name for name in _BINARIES if name not in manifest]
    if missing:
        pytest.fail(f"{_DIST} has no {missing}; run `make artifacts`")
    folder = tmp_path_factory.mktemp("dist")
    for name in _BINARIES:
        target = folder / name
        target.write_bytes((_DIST / manifest[name]["path"]).read_bytes())
        target.chmod(0o755)
    kept = {name: {**manifest[name], "path": name} for name in _BINARIES}
    (folder / "manifest.json").write_text(json.dumps(kept))
    return folder


@pytest.fixture
def lab_program(tmp_path: Path, lab_dist: Path) -> ProgramMaker:
    """Makes an engine of its own state for a program given as text; stack "dev" exists."""

    def make(text: str) -> engine.Engine:
        folder = tmp_path / "program"
        folder.mkdir(exist_ok=True)
        (folder / "Pulumi.yaml").write_text("name: trial\nruntime: python\n")
        (folder / "__main__.py").write_text(textwrap.dedent(text))
        made = engine.Engine(tmp_path / "state", folder, lab_dist)
        made.ensure_stack("dev")
        return made

    return make


@pytest.fixture
def pulumi(lab_program: ProgramMaker) -> Iterator[Callable[..., engine.Result]]:
    """Runs one pulumi command of a program: `pulumi(engine, "up", "--yes")`."""

    def run(made: engine.Engine, command: str, *args: str) -> engine.Result:
        yes = ["--yes", "--skip-preview"] if command in {"up", "refresh", "destroy"} else []
        return made.run(command, *yes, "--stack", "dev", *args, timeout=120)

    yield run
