"""artifacts/headscale/amend: what it inserts, and that it refuses what it does not know.

The source is that of the locked release, as Go's module cache has it.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from artifacts import build

POLICY = "hscontrol/policy/v2/policy.go"
TYPES = "hscontrol/policy/v2/types.go"
BATCHER = "hscontrol/mapper/batcher.go"
MAPPER = "hscontrol/mapper/mapper.go"
METHOD = "func (*PolicyManager).ViaRoutesForPeer"


@pytest.fixture(scope="session")
def headscale() -> build.Artifact:
    """Our revision, as the catalogue has it."""
    (found,) = (artifact for artifact in build.catalogue() if artifact.name == "headscale")
    return found


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go that builds artifacts."""
    return build.find_go(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def amend(headscale: build.Artifact, go: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, compiled."""
    command = tmp_path_factory.mktemp("amend") / "amend"
    build.run("amend", [go, "build", "-o", command, "./amend"], cwd=headscale.family.folder)
    return command


@pytest.fixture
def source(headscale: build.Artifact, go: Path, tmp_path: Path) -> Path:
    """The files that the insertions look at, which a test may change."""
    upstream = build.source(headscale, go)
    for file in (POLICY, TYPES, BATCHER, MAPPER):
        (tmp_path / "source" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(upstream / file, tmp_path / "source" / file)
    return tmp_path / "source"


def run(amend: Path, source: Path) -> subprocess.CompletedProcess[str]:
    line = [str(amend), "9.9.9", str(source), str(source.parent / "copy")]
    return subprocess.run(line, text=True, capture_output=True, check=False)


def change(file: Path, pattern: str, by: str) -> None:
    """Replace the one place that fits the pattern."""
    text, count = re.subn(pattern, by, file.read_text(), flags=re.DOTALL)
    assert count == 1
    file.write_text(text)


def inserted(source: Path, file: str, lines: int) -> tuple[str, list[str]]:
    """The line of upstream's before what was inserted, and the lines of ours; nothing else of the
    file may have changed."""
    before = (source / file).read_text().splitlines()
    after = (source.parent / "copy" / file).read_text().splitlines()
    (start,) = (i for i, line in enumerate(after) if "Inserted by mesh" in line)
    assert after[: start - 1] + after[start + lines :] == before
    return after[start - 2].strip(), [line.strip() for line in after[start : start + lines]]


def test_one_return_is_inserted_behind_the_check_for_a_missing_policy(
    amend: Path, source: Path
) -> None:
    assert run(amend, source).returncode == 0
    behind, ours = inserted(source, POLICY, 4)
    assert behind == "}"
    assert ours == [
        "// Inserted by mesh: without a via there is nothing to steer.",
        "if !slices.ContainsFunc(pm.pol.Grants, func(grant Grant) bool"
        " { return len(grant.Via) > 0 }) {",
        "return result",
        "}",
    ]


def test_changes_of_peers_are_put_together_once_repeats_are_dropped(
    amend: Path, source: Path
) -> None:
    assert run(amend, source).returncode == 0
    behind, ours = inserted(source, BATCHER, 2)
    assert behind == "pending = change.DedupePolicyChanges(pending)"
    assert ours == [
        "// Inserted by mesh: what is new with several peers is one message.",
        "pending = together(pending, nodeID)",
    ]


def test_what_puts_them_together_goes_into_the_copy_with_its_tests(
    amend: Path, source: Path, headscale: build.Artifact
) -> None:
    assert run(amend, source).returncode == 0
    ours = headscale.family.folder / "amend" / "mapper"
    theirs = source.parent / "copy" / "hscontrol" / "mapper"
    assert {path.name for path in ours.iterdir()} == {"together.go", "together_test.go"}
    for path in ours.iterdir():
        assert (theirs / path.name).read_bytes() == path.read_bytes()


def test_a_file_of_that_name_in_the_release_is_never_replaced(amend: Path, source: Path) -> None:
    (source / "hscontrol/mapper/together.go").write_text("package mapper\n")
    refused = run(amend, source)
    assert refused.returncode == 1
    assert "hscontrol/mapper/together.go: file exists" in refused.stderr


def test_the_source_itself_stays_as_it_was(amend: Path, source: Path) -> None:
    before = (source / POLICY).read_text()
    run(amend, source)
    assert (source / POLICY).read_text() == before


def test_a_changed_method_is_refused_with_release_file_and_method(
    amend: Path, source: Path
) -> None:
    change(source / POLICY, r"(\) ViaRoutesForPeer\([^)]*\) types.ViaRouteResult \{\n)", r"\1\n\n")
    refused = run(amend, source)
    assert refused.returncode == 1
    assert f"headscale 9.9.9 cannot be made: {POLICY}: {METHOD} has changed" in refused.stderr
    assert (source.parent / "copy" / POLICY).read_text() == (source / POLICY).read_text()


def test_a_change_of_what_the_insertion_relies_on_is_refused_too(amend: Path, source: Path) -> None:
    change(source / TYPES, r"(func aclToGrants\([^)]*\) \[\]Grant \{\n)", r"\1\n\n")
    refused = run(amend, source)
    assert refused.returncode == 1
    assert f"{TYPES}: func aclToGrants has changed (acls never have a via" in refused.stderr


def test_everything_that_changed_is_named_at_once(amend: Path, source: Path) -> None:
    change(source / POLICY, r"\) ViaRoutesForPeer\(", ") RoutesForPeer(")
    change(source / TYPES, r"func aclToGrants\(", "func grantsOf(")
    change(source / MAPPER, r"(\) buildFromChange\([^)]*\) [^{]*\{\n)", r"\1\n\n")
    refused = run(amend, source)
    assert refused.returncode == 1
    assert f"{MAPPER}: func (*mapper).buildFromChange has changed (peers' ent" in refused.stderr
    assert f"{METHOD} is not there" in refused.stderr
    assert "func aclToGrants is not there" in refused.stderr


def test_a_change_elsewhere_in_the_file_is_none_of_its_business(amend: Path, source: Path) -> None:
    (source / POLICY).write_text((source / POLICY).read_text() + "\nconst another = 1\n")
    assert run(amend, source).returncode == 0


def test_a_build_whose_source_is_refused_leaves_nothing_behind(
    headscale: build.Artifact, go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(build, "source", lambda artifact, go: empty)
    with pytest.raises(build.BuildError, match=r"headscale 0\.\S+ cannot be made: .* no such file"):
        build.compile_command(headscale, tmp_path / "headscale", go)
    assert not (tmp_path / "headscale").exists()
