"""Packs what requirements.txt locks into one tar.gz that a host's own Python runs, without pip.

    python pack.py TARGET.tar.gz

The archive holds one folder: patroni/bin with the commands, patroni/lib with the packages. It
serves Debian 12 (Python 3.11) and Ubuntu 22.04 (3.10), and is the same to the byte each time.
"""

import gzip
import io
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

HERE = Path(__file__).resolve().parent
OLDEST_PYTHON = "3.10"
# Published as source only. Being pure Python they need no build: these paths are their packages.
SOURCES = {"python_etcd": "src/etcd", "ydiff": "ydiff.py"}
# Says how a package was installed, or serves its own tests; of no use on a host.
LEFT_OUT = {"tests", "__pycache__", "RECORD", "WHEEL", "INSTALLER"}


def main() -> None:
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        downloads, tree = Path(scratch, "downloads"), Path(scratch, "patroni")
        download(downloads)
        (tree / "lib").mkdir(parents=True)
        for archive in sorted(downloads.iterdir()):
            unpack(archive, tree / "lib")
        shutil.copytree(HERE / "bin", tree / "bin")
        write_archive(tree, target)


def download(folder: Path) -> None:
    """Fetch each locked package, checked against its hash, for the oldest Python served."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    hosts = ["--implementation=cp", f"--python-version={OLDEST_PYTHON}"]
    hosts += ["--platform=manylinux2014_x86_64"]
    lock = ["--requirement", str(HERE / "requirements.txt"), "--dest", str(folder)]
    subprocess.run([*pip, *hosts, *lock], check=True)


def unpack(archive: Path, lib: Path) -> None:
    members = wheel_files(archive) if archive.suffix == ".whl" else source_files(archive)
    for path, content in members:
        if wanted(path):
            file = lib / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def wanted(path: PurePosixPath) -> bool:
    """Refuses also extension modules for one Python version only: PyYAML does without its own."""
    one_version_only = path.suffix == ".so" and ".abi3." not in path.name
    return LEFT_OUT.isdisjoint(path.parts) and not one_version_only


def wheel_files(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            if not name.endswith("/"):
                yield PurePosixPath(name), wheel.read(name)


def source_files(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The package of a source archive, and its metadata where a wheel would have it."""
    release = archive.name.removesuffix(".tar.gz").replace("-", "_")
    name, _, version = release.rpartition("_")
    package = PurePosixPath(SOURCES[name])
    with tarfile.open(archive) as source:
        for member in source:
            content = source.extractfile(member)
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if content is None:
                continue
            if path == PurePosixPath("PKG-INFO"):
                yield PurePosixPath(f"{name}-{version}.dist-info/METADATA"), content.read()
            elif path.is_relative_to(package):
                yield path.relative_to(package.parent), content.read()


def write_archive(tree: Path, target: Path) -> None:
    """Archive `tree` under its own name; no time, place or user shows in the result."""
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                add(archive, path, f"{tree.name}/{path.relative_to(tree)}")


def add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    content = path.read_bytes()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main()
