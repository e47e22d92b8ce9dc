"""artifacts/build.py: what makes it build again, what it leaves behind, what it says.

Nothing is compiled here; test_binaries.py looks at what the real catalogue yields.
"""

import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from artifacts import build

GO = "go1.26.8"
PRODUCT = [
    "derper",
    "derpprobe",
    "etcd",
    "etcdctl",
    "headscale",
    "headscale-stock",
    "lego",
    "patroni",
    "stunc",
    "tailscale",
    "tailscaled",
]
LAB = ["mesh-load", "pebble", "pulumi", "pulumi-language-python", "pulumi-language-python-exec"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache folder of a user without Go trouble and without an installed engine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "find_go", lambda cache: Path("go"))
    monkeypatch.setattr(build, "go_version", lambda go: GO)
    monkeypatch.setattr(build, "installed", lambda artifact, dist: None)
    return tmp_path / "cache" / "mesh" / "artifacts"


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the compiler: writes a file of fixed content, and notes each call."""
    calls: list[str] = []

    def compile_command(artifact: build.Artifact, target: Path, go: Path) -> None:
        calls.append(artifact.name)
        target.write_text("binary")

    monkeypatch.setattr(build, "compile_command", compile_command)
    return calls


# The catalogue


def test_the_catalogue_names_what_hosts_and_the_lab_need() -> None:
    by_group = {
        group: sorted(a.name for a in build.catalogue() if a.family.group == group)
        for group in build.GROUPS
    }
    assert by_group == {"product": PRODUCT, "lab": LAB, "bench": ["headscale-previous"]}


def test_every_artifact_of_the_catalogue_is_locked_at_an_exact_release() -> None:
    for artifact in build.catalogue():
        numbers = artifact.version.removesuffix(f"+{artifact.revision}").split(".")
        assert len(numbers) == 3 and all(map(str.isdecimal, numbers)), artifact


def test_our_revision_of_a_release_shows_in_its_version(toy: build.Artifact) -> None:
    family = dataclasses.replace(toy.family, amended={"toy": "mesh.7"})
    assert dataclasses.replace(toy, family=family).version == "1.2.3+mesh.7"


@pytest.mark.parametrize(
    "lock", ["require example.org/toy v1.2.3\n", "require (\n\texample.org/toy v1.2.3\n)\n"]
)
def test_the_version_is_the_one_that_go_mod_requires(toy: build.Artifact, lock: str) -> None:
    similar = "require example.org/toy/v2 v9.9.9\n"
    (toy.family.folder / "go.mod").write_text(similar + lock)
    assert toy.version == "1.2.3"


def test_the_version_of_a_bundle_is_the_one_that_requirements_txt_locks(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("other==9.9\ntoy==1.2.3 \\\n    --hash=sha256:0\n")
    family = build.Family(folder=tmp_path, group="lab", release="toy", bundle="toy.tar.gz")
    (bundle,) = family.artifacts()
    assert (bundle.name, bundle.version) == ("toy", "1.2.3")


def test_a_release_without_a_lock_is_named_with_the_file_that_lacks_it(
    toy: build.Artifact,
) -> None:
    lock = toy.family.folder / "go.mod"
    lock.write_text("module toy\n")
    with pytest.raises(build.BuildError, match=f"toy: {lock} locks no version of example.org/toy"):
        assert toy.version


# What makes it build again


@pytest.mark.parametrize("file", ["go.mod", "main.go", "new.go"])
def test_the_key_changes_with_each_file_of_the_folder(toy: build.Artifact, file: str) -> None:
    before = build.cache_key(toy, GO)
    with (toy.family.folder / file).open("a") as source:
        source.write("// changed\n")
    assert build.cache_key(toy, GO) != before


def test_the_key_changes_with_the_go_release(toy: build.Artifact) -> None:
    assert build.cache_key(toy, GO) != build.cache_key(toy, "go1.26.9")


@pytest.mark.parametrize(("tags", "ldflags"), [("x", ""), ("", "-X a=b")])
def test_the_key_changes_with_the_flags(toy: build.Artifact, tags: str, ldflags: str) -> None:
    family = dataclasses.replace(toy.family, tags=tags, ldflags=ldflags)
    other = dataclasses.replace(toy, family=family)
    assert build.cache_key(other, GO) != build.cache_key(toy, GO)


@pytest.mark.parametrize(("revision", "tests"), [("mesh.1", []), ("mesh.2", ["./policy"])])
def test_the_key_changes_with_the_revision_and_what_tests_it(
    toy: build.Artifact, revision: str, tests: list[str]
) -> None:
    family = dataclasses.replace(toy.family, amended={"toy": "mesh.2"})
    before = build.cache_key(dataclasses.replace(toy, family=family), GO)
    family = dataclasses.replace(family, amended={"toy": revision}, tests=tests)
    assert build.cache_key(dataclasses.replace(toy, family=family), GO) != before


def test_the_key_differs_between_artifacts_of_one_folder() -> None:
    keys = [build.cache_key(artifact, GO) for artifact in build.catalogue()]
    assert len(set(keys)) == len(keys)


def test_the_key_is_the_same_in_another_clone_at_another_time(
    toy: build.Artifact, tmp_path: Path
) -> None:
    clone = shutil.copytree(toy.family.folder, tmp_path / "clone")
    os.utime(clone / "go.mod", (0, 0))
    (clone / "__pycache__").mkdir()
    (clone / "__pycache__" / "pack.pyc").write_bytes(b"")
    other = dataclasses.replace(toy, family=dataclasses.replace(toy.family, folder=clone))
    assert build.cache_key(other, GO) == build.cache_key(toy, GO)


def test_an_unchanged_artifact_is_built_once(
    toy: build.Artifact, cache: Path, compiler: list[str], tmp_path: Path
) -> None:
    build.build_all([toy], tmp_path / "one")
    build.build_all([toy], tmp_path / "two")
    assert compiler == ["toy"]


def test_a_cached_file_that_was_written_to_is_built_again(
    toy: build.Artifact, cache: Path, compiler: list[str], tmp_path: Path
) -> None:
    build.build_all([toy], tmp_path / "dist")
    (cached,) = cache.glob("*/toy")
    cached.write_text("tampered")
    build.build_all([toy], tmp_path / "dist")
    assert compiler == ["toy", "toy"]
    assert cached.read_text() == "binary"


# What it leaves behind


def test_the_manifest_describes_the_file_under_its_hash(
    toy: build.Artifact, cache: Path, compiler: list[str], tmp_path: Path
) -> None:
    build.build_all([toy], tmp_path / "dist")
    digest = "9a3a45d01531a20e89ac6ae10b0b0beb0492acd7216a368aa062d1a5fecaf9cd"  # of "binary"
    assert json.loads((tmp_path / "dist" / "manifest.json").read_text()) == {
        "toy": {
            "version": "1.2.3",
            "sha256": digest,
            "size": 6,
            "path": f"{digest}/toy",
            "group": "product",
            "source": "built",
        }
    }
    assert (tmp_path / "dist" / digest / "toy").read_text() == "binary"


def test_the_manifest_keeps_what_is_still_locked_and_is_sorted(
    toy: build.Artifact, tmp_path: Path
) -> None:
    entry = build.Entry(
        version="1.2.3", sha256="", size=0, path="", group="product", source="built"
    )
    stunc, pebble = (a for a in build.catalogue() if a.name in ("stunc", "pebble"))
    build.record(stunc, dataclasses.replace(entry, version=stunc.version), tmp_path)
    build.record(pebble, dataclasses.replace(entry, version="0.0.1"), tmp_path)
    build.record(toy, entry, tmp_path)
    text = (tmp_path / "manifest.json").read_text()
    assert list(json.loads(text)) == ["stunc", "toy"], "pebble is locked at another version"


def test_a_dist_on_another_file_system_gets_a_copy(
    toy: build.Artifact,
    cache: Path,
    compiler: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> NoReturn:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    build.build_all([toy], tmp_path / "dist")
    (placed,) = (tmp_path / "dist").glob("*/toy")
    assert (placed.read_text(), placed.stat().st_nlink) == ("binary", 1)


@pytest.mark.parametrize("end", [KeyboardInterrupt, build.BuildError])
def test_a_build_cut_short_leaves_nothing_half_done(
    toy: build.Artifact,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException],
) -> None:
    def cut_short(artifact: build.Artifact, target: Path, go: Path) -> NoReturn:
        target.write_text("half")
        raise end

    monkeypatch.setattr(build, "compile_command", cut_short)
    with pytest.raises(end):
        build.build_all([toy], tmp_path / "dist")
    assert [path.name for path in cache.iterdir()] == ["lock"]
    assert list((tmp_path / "dist").iterdir()) == []


def test_what_a_killed_build_left_is_cleared_by_the_next(
    toy: build.Artifact, cache: Path, compiler: list[str], tmp_path: Path
) -> None:
    (cache / "unfinished-x").mkdir(parents=True)
    build.build_all([toy], tmp_path / "dist")
    assert not (cache / "unfinished-x").exists()


def test_a_second_build_waits_for_the_first(tmp_path: Path) -> None:
    cache = tmp_path / "mesh" / "artifacts"
    cache.mkdir(parents=True)
    build_derper = [sys.executable, build.__file__, "--only", "derper"]
    command = [*build_derper, "--dist", str(tmp_path / "dist")]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        said = second.stdout.readline()
        second.terminate()  # it would go on to compile
        second.communicate()
    assert said == "waiting for another build to end\n"


# What it says


def test_an_error_names_artifact_and_command_and_ends_with_the_last_output() -> None:
    script = "import sys; print(*range(100), sep='\\n'); sys.exit('no space left')"
    with pytest.raises(build.BuildError) as caught:
        build.run("derper", [sys.executable, "-c", script])
    first, command, *output = str(caught.value).splitlines()
    assert first.startswith("derper: exit code 1 in ")
    assert sys.executable in command
    assert (len(output), output[0].strip(), output[-1].strip()) == (20, "81", "no space left")


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(build.BuildError, match=r"derper: no-such-command --flag: .*No such file"):
        build.run("derper", ["no-such-command", "--flag"])


def test_the_settings_of_the_user_do_not_reach_the_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOFLAGS", "-race")
    monkeypatch.setenv("GOROOT", "/elsewhere")
    seen = build.run("derper", ["env"]).splitlines()
    assert "GOFLAGS=-mod=readonly" in seen
    assert not any(line.startswith("GOROOT=") for line in seen)


def test_the_list_is_limited_to_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--list", "--group", "lab"]) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert sorted(name for name, version, group in listed) == LAB
    assert {group for name, version, group in listed} == {"lab"}


@pytest.mark.parametrize(
    ("words", "built"),
    [([], False), (["--group", "bench"], True), (["--only", "headscale-previous"], True)],
)
def test_what_only_a_benchmark_needs_is_built_when_it_is_asked_for(
    words: list[str], built: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["--list", *words]) == 0
    assert ("headscale-previous" in capsys.readouterr().out) is built


# Tools


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("go1.26.6", True),
        ("go1.27.0", True),
        ("go2.0.0", True),
        ("go1.26.5", False),
        ("go1.9.7", False),
        ("go1.26rc1", False),
        ("devel", False),
    ],
)
def test_go_counts_as_recent_enough_from_the_release_that_tailscale_asks_for(
    version: str, enough: bool
) -> None:
    assert (build.release_numbers(version) >= build.GO_AT_LEAST) is enough


def test_an_old_go_on_path_gives_way_to_the_locked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "go", "echo go version go1.19.8 linux/amd64")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    commands = []
    real_run = build.run

    def run(artifact: str, command: list[str | Path]) -> str:
        commands.append([str(part) for part in command])
        return real_run(artifact, command) if command[-1] == "version" else ""

    monkeypatch.setattr(build, "run", run)
    build.find_go.cache_clear()
    build.go_version.cache_clear()
    (tmp_path / "cache").mkdir()
    go = build.find_go(tmp_path / "cache")
    build.find_go.cache_clear()
    assert go.is_relative_to(tmp_path / "cache")
    assert {"install", "--require-hashes", "--no-deps"} <= set(commands[-1])


@pytest.mark.parametrize(
    ("version", "parts", "counts"),
    [
        ("v3.259.0", build.ENGINE, True),
        ("v3.258.0", build.ENGINE, False),
        ("v3.259.0", build.ENGINE[:2], False),
    ],
)
def test_an_installed_engine_counts_when_it_is_whole_and_of_the_locked_version(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    parts: list[str],
    counts: bool,
) -> None:
    for part in parts:
        program(tmp_path / "bin" / part, f"echo {version}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "dist").mkdir()
    build.installed_engine.cache_clear()
    (engine,) = (a for a in build.catalogue() if a.name == "pulumi")
    entry = build.installed(engine, tmp_path / "dist")
    build.installed_engine.cache_clear()
    assert (entry is not None and entry.source == "installed") is counts


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
