"""mesh/artifacts.py: which built programs a stack uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesh import artifacts
from mesh.capacity import Build

NAMES = {name for needed in (*artifacts.NEEDED.values(), artifacts.CLIENT) for name in needed}
NAMES |= {"headscale-stock"}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Of everything that hosts may need; a file's content is its name."""
    for name in NAMES:
        (tmp_path / name).write_text(name)
    entries = {
        name: {"group": "product", "path": name, "sha256": f"hash of {name}", "version": "1"}
        for name in NAMES
    }
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    return tmp_path / "manifest.json"


@pytest.mark.parametrize(
    ("build", "file"), [("patched", "headscale"), ("stock", "headscale-stock")]
)
def test_hosts_get_the_headscale_that_the_stack_asks_for_under_its_usual_name(
    manifest: Path, build: Build, file: str
) -> None:
    found = artifacts.load(manifest, build)["headscale"]
    assert (found.name, found.path.read_text(), found.sha256) == (
        "headscale",
        file,
        f"hash of {file}",
    )


def test_the_patched_one_is_the_default(manifest: Path) -> None:
    assert artifacts.load(manifest) == artifacts.load(manifest, "patched")


@pytest.mark.parametrize(
    ("build", "file", "other"),
    [("patched", "headscale", "headscale-stock"), ("stock", "headscale-stock", "headscale")],
)
def test_only_the_build_that_is_asked_for_must_be_there(
    manifest: Path, build: Build, file: str, other: str
) -> None:
    (manifest.parent / other).unlink()
    artifacts.load(manifest, build)
    (manifest.parent / file).unlink()
    with pytest.raises(artifacts.ArtifactError, match=f"lacks {file}; `make artifacts` builds"):
        artifacts.load(manifest, build)
