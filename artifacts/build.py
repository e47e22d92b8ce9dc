"""Builds the locked artifacts of catalogue.toml: what hosts fetch by hash, and what the lab needs.

    python artifacts/build.py [--only NAME ...] [--group GROUP ...] [--dist DIR] [--list]

Each artifact ends up in DIR/<sha256>/<file>, and DIR/manifest.json says which is which. Finished
builds stay in the user's cache folder, so only what changed is built again.
"""

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent

GO_AT_LEAST = (1, 26, 6)  # the tailscale module asks for it
GO_BUILD = ["build", "-trimpath", "-buildvcs=false"]
GO_LDFLAGS = "-s -w -buildid="
# All explicit, so that neither the machine's settings nor its processor change a binary.
GO_ENV = {
    "CGO_ENABLED": "0",
    "GOOS": "linux",
    "GOARCH": "amd64",
    "GOAMD64": "v1",
    "GOFLAGS": "-mod=readonly",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}
# The engine finds its language host beside itself, so an installed one counts only as a whole.
ENGINE = ["pulumi", "pulumi-language-python", "pulumi-language-python-exec"]
ERROR_LINES = 20

Group = Literal["product", "lab", "bench"]
GROUPS: list[Group] = ["product", "lab", "bench"]
Source = Literal["built", "installed"]


class BuildError(Exception):
    """Says which artifact failed, at which command, with the end of its output."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One section of catalogue.toml, which explains the fields."""

    folder: Path
    group: Group
    release: str
    ldflags: str = ""
    tags: str = ""
    commands: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    bundle: str = ""
    amended: dict[str, str] = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)

    def artifacts(self) -> list["Artifact"]:
        files = [*self.commands, *self.files, *filter(None, [self.bundle])]
        return [Artifact(file=file, family=self) for file in files]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file that hosts or the lab use."""

    file: str
    family: Family

    @property
    def name(self) -> str:
        return self.file.partition(".")[0]

    @functools.cached_property
    def version(self) -> str:
        """The locked version, without a leading v; "1.2.3+mesh.1" is our revision of it."""
        lock, separator = ("requirements.txt", "==") if self.family.bundle else ("go.mod", " v")
        path = self.family.folder / lock
        locked = rf"^(?:require |\s*){re.escape(self.family.release)}{separator}(\S+)"
        match = re.search(locked, path.read_text(), re.MULTILINE)
        if match is None:
            raise BuildError(f"{self.name}: {path} locks no version of {self.family.release}")
        return "+".join(filter(None, [match[1], self.revision]))

    @property
    def revision(self) -> str:
        """Which amended source it is built from; empty for upstream's own."""
        return self.family.amended.get(self.file, "")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the manifest says of an artifact; `path` is relative to the manifest."""

    version: str
    sha256: str
    size: int
    path: str
    group: Group
    source: Source


def catalogue(folder: Path = HERE) -> list[Artifact]:
    """Every artifact, in the order of the file."""
    sections = tomllib.loads((folder / "catalogue.toml").read_text())
    families = [Family(folder=folder / name, **section) for name, section in sections.items()]
    return [artifact for family in families for artifact in family.artifacts()]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the manifest lists all that was asked for, 1 after an error."""
    known = catalogue()
    options = parse(argv, [artifact.name for artifact in known])
    named = options.only or [a.name for a in known if a.family.group in options.group]
    wanted = [artifact for artifact in known if artifact.name in named]
    if options.list:
        print(*(f"{a.name} {a.version} {a.family.group}" for a in wanted), sep="\n")
        return 0
    try:
        build_all(wanted, options.dist.resolve())
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
    return 0


def parse(argv: Sequence[str] | None, names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the locked artifacts into DIR.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help="only these")
    parser.add_argument("--group", nargs="+", choices=GROUPS, default=GROUPS[:2])
    parser.add_argument("--dist", metavar="DIR", type=Path, default=HERE.parent / "dist")
    parser.add_argument("--list", action="store_true", help="print names, versions and groups")
    return parser.parse_args(argv)


def build_all(wanted: Sequence[Artifact], dist: Path) -> None:
    """Bring `wanted` into `dist`; the manifest grows with each one that is finished."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesh" / "artifacts"
    cache.mkdir(parents=True, exist_ok=True)
    dist.mkdir(parents=True, exist_ok=True)
    with exclusive(cache / "lock"):
        for stale in cache.glob("unfinished-*"):
            shutil.rmtree(stale)
        for artifact in wanted:
            entry = installed(artifact, dist) or built(artifact, cache, dist)
            record(artifact, entry, dist)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file; a second build waits, since both would do the same work."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build to end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# How an artifact comes about


def built(artifact: Artifact, cache: Path, dist: Path) -> Entry:
    """The artifact from the cache, built first where the cache does not have it."""
    go = None if artifact.family.bundle else find_go(cache)
    finished = cache / cache_key(artifact, go_version(go) if go else "")
    started = time.monotonic()
    took = "from the cache"
    if not is_sound(finished, artifact.file):
        print(f"{artifact.name} {artifact.version}: building", flush=True)
        with unfinished(cache) as scratch:
            make(artifact, scratch / artifact.file, go)
            (scratch / "sha256").write_text(sha256(scratch / artifact.file))
            shutil.rmtree(finished, ignore_errors=True)
            scratch.rename(finished)
        took = f"{time.monotonic() - started:.0f} s"
    entry = place(finished / artifact.file, artifact, dist, "built")
    print(f"{artifact.name} {artifact.version}: {entry.size / 1e6:.1f} MB, {took}", flush=True)
    return entry


def cache_key(artifact: Artifact, go: str) -> str:
    """Changes with everything that the built file depends on."""
    family = artifact.family
    how = [artifact.file, family.commands.get(artifact.file), family.files.get(artifact.file)]
    how += [artifact.revision, *family.tests] if artifact.revision else []
    flags = [GO_BUILD, GO_LDFLAGS, GO_ENV, family.ldflags, family.tags]
    sources = {
        str(path.relative_to(family.folder)): sha256(path)
        for path in family.folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inputs = json.dumps([how, go, flags, sources], sort_keys=True)
    return hashlib.sha256(inputs.encode()).hexdigest()


def make(artifact: Artifact, target: Path, go: Path | None) -> None:
    if go is None:
        pack(artifact, target)
    elif artifact.file in artifact.family.commands:
        compile_command(artifact, target, go)
    else:
        copy_from_module(artifact, target, go)


def pack(artifact: Artifact, target: Path) -> None:
    folder = artifact.family.folder
    run(artifact.name, [sys.executable, folder / "pack.py", target], cwd=folder)
    target.chmod(0o644)


def compile_command(artifact: Artifact, target: Path, go: Path) -> None:
    family = artifact.family
    folder = amend(artifact, target.parent, go) if artifact.revision else family.folder
    ldflags = f"{GO_LDFLAGS} {family.ldflags.format(version=artifact.version)}".strip()
    flags = [*GO_BUILD, f"-tags={family.tags}", f"-ldflags={ldflags}"]
    run(artifact.name, [go, *flags, "-o", target, family.commands[artifact.file]], cwd=folder)
    if artifact.revision:
        shutil.rmtree(folder)


def amend(artifact: Artifact, scratch: Path, go: Path) -> Path:
    """A copy of the family's folder that builds our revision; upstream's tests passed on it."""
    family, name = artifact.family, artifact.name
    folder = Path(shutil.copytree(family.folder, scratch / "family"))
    amended = folder / artifact.revision  # the binary reads its revision off this name
    run(name, [go, "run", "./amend", artifact.version, source(artifact, go), amended], cwd=folder)
    run(name, [go, "test", *family.tests], cwd=amended)
    run(name, [go, "mod", "edit", f"-replace={family.release}=./{amended.name}"], cwd=folder)
    return folder


def copy_from_module(artifact: Artifact, target: Path, go: Path) -> None:
    shutil.copyfile(source(artifact, go) / artifact.family.files[artifact.file], target)
    target.chmod(0o755)


def source(artifact: Artifact, go: Path) -> Path:
    """The folder of the release in Go's module cache; go.sum vouches for it."""
    command = [str(go), "mod", "download", "-json", artifact.family.release]
    return Path(json.loads(run(artifact.name, command, cwd=artifact.family.folder))["Dir"])


def installed(artifact: Artifact, dist: Path) -> Entry | None:
    """The artifact as part of an installed engine of just the locked version, if there is one."""
    folder = installed_engine(artifact.version) if artifact.name in ENGINE else None
    if folder is None:
        return None
    print(f"{artifact.name} {artifact.version}: as installed in {folder}", flush=True)
    return place(folder / artifact.name, artifact, dist, "installed")


@functools.cache
def installed_engine(version: str) -> Path | None:
    """The folder of the engine on PATH, unless it is ours, put together from older builds."""
    engine = shutil.which("pulumi")
    if engine is None:
        return None
    folder = Path(engine).resolve().parent
    if HERE.parent in folder.parents or not all((folder / part).is_file() for part in ENGINE):
        return None
    return folder if run("pulumi", [engine, "version"]).strip() == f"v{version}" else None


# The cache and dist


@contextlib.contextmanager
def unfinished(cache: Path) -> Iterator[Path]:
    """A folder that the caller renames once it is complete; otherwise it goes away."""
    scratch = Path(tempfile.mkdtemp(prefix="unfinished-", dir=cache))
    scratch.chmod(0o755)  # mkdtemp gives it to its owner only
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_sound(finished: Path, file: str) -> bool:
    """Whether a cached file is what was built: dist links to it, so it may have been written to."""
    try:
        return (finished / "sha256").read_text() == sha256(finished / file)
    except FileNotFoundError:
        return False


def place(file: Path, artifact: Artifact, dist: Path, source: Source) -> Entry:
    """Put `file` into `dist` under its hash; it is never there in part."""
    digest = sha256(file)
    target = dist / digest / artifact.file
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dist, prefix=".unfinished-") as scratch:
        fresh = Path(scratch, artifact.file)
        try:
            os.link(file, fresh)
        except OSError:  # another file system
            shutil.copy2(file, fresh)
        fresh.replace(target)
    return Entry(
        version=artifact.version,
        sha256=digest,
        size=target.stat().st_size,
        path=str(target.relative_to(dist)),
        group=artifact.family.group,
        source=source,
    )


def record(artifact: Artifact, entry: Entry, dist: Path) -> None:
    """Add to the manifest what was built, and drop from it what the catalogue no longer locks."""
    manifest = read_manifest(dist)
    locked = {other.name: other.version for other in catalogue()}
    kept = {name: old for name, old in manifest.items() if locked.get(name) == old["version"]}
    kept[artifact.name] = asdict(entry)
    fresh = dist / ".manifest.json"
    fresh.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    fresh.replace(dist / "manifest.json")


def read_manifest(dist: Path) -> dict[str, Any]:
    """The fields of `Entry` by name; empty before the first build."""
    path = dist / "manifest.json"
    return json.loads(path.read_text()) if path.exists() else {}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Tools


@functools.cache
def find_go(cache: Path) -> Path:
    """Go on PATH when it is recent enough, else the one locked in go.txt, kept in the cache."""
    ambient = shutil.which("go")
    if ambient is not None and release_numbers(go_version(Path(ambient))) >= GO_AT_LEAST:
        return Path(ambient)
    lock = HERE / "go.txt"
    home = cache / f"go-{sha256(lock)}"
    if not home.exists():
        print("Go: installing the locked one", flush=True)
        with unfinished(cache) as scratch:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            run("Go", [*pip, "--require-hashes", "--target", scratch, "--requirement", lock])
            scratch.rename(home)
    return home / "go" / "bin" / "go"


@functools.cache
def go_version(go: Path) -> str:
    return run("Go", [go, "version"]).split()[2]


def release_numbers(version: str) -> tuple[int, ...]:
    """go1.26.8 as (1, 26, 8); a release candidate is older than its release."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version))
    return (*numbers[:-1], -1) if "rc" in version else numbers


def run(artifact: str, command: Sequence[str | Path], cwd: Path = HERE) -> str:
    """The command's standard output."""
    arguments = [str(argument) for argument in command]
    ambient = {name: value for name, value in os.environ.items() if name != "GOROOT"}
    environment = ambient | GO_ENV | {"PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        done = subprocess.run(
            arguments, cwd=cwd, env=environment, text=True, capture_output=True, check=True
        )
    except OSError as error:
        raise BuildError(f"{artifact}: {shlex.join(arguments)}: {error}") from error
    except subprocess.CalledProcessError as error:
        last = (error.stdout + error.stderr).splitlines()[-ERROR_LINES:]
        failed = f"{artifact}: exit code {error.returncode} in {cwd} from"
        raise BuildError("\n  ".join([failed, shlex.join(arguments), *last])) from error
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
