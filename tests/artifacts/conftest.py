"""What the tests of artifacts/ share: the locked binaries, and an artifact that costs nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts import build

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def locate() -> Callable[[str], Path]:
    """The path of an artifact in dist/, built first where it is missing or out of date."""
    dist = ROOT / "dist"
    known = {artifact.name: artifact for artifact in build.catalogue()}

    def path(name: str) -> Path:
        build.build_all([known[name]], dist)
        return dist / str(build.read_manifest(dist)[name]["path"])

    return path


@pytest.fixture
def toy(tmp_path: Path) -> build.Artifact:
    """A Go command with a lock, in a folder that a test may change."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "go.mod").write_text("module toy\n\nrequire example.org/toy v1.2.3 // indirect\n")
    (folder / "main.go").write_text("package main\n\nfunc main() {}\n")
    family = build.Family(
        folder=folder, group="product", release="example.org/toy", commands={"toy": "."}
    )
    return build.Artifact(file="toy", family=family)
