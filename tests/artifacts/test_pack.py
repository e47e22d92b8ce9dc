"""artifacts/patroni/pack.py: the archive is the same each time and serves both Pythons."""

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from artifacts.patroni import pack


def tree(folder: Path, names: list[str]) -> Path:
    """A tree whose files are written in the given order."""
    for name in names:
        file = folder / "toy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {name}")
    (folder / "toy" / "bin" / "run").chmod(0o755)
    return folder / "toy"


def test_the_archive_does_not_depend_on_place_time_or_order(tmp_path: Path) -> None:
    names = ["lib/a.py", "bin/run", "lib/b/c.py"]
    pack.write_archive(tree(tmp_path / "one", names), tmp_path / "one.tar.gz")
    other = tree(tmp_path / "two", names[::-1])
    os.utime(other / "lib" / "a.py", (0, 0))
    (other / "lib" / "a.py").chmod(0o600)
    pack.write_archive(other, tmp_path / "renamed.tar.gz")
    first, second = tmp_path / "one.tar.gz", tmp_path / "renamed.tar.gz"
    assert first.read_bytes() == second.read_bytes()


def test_the_archive_unpacks_to_one_folder_owned_by_root(tmp_path: Path) -> None:
    pack.write_archive(tree(tmp_path, ["lib/a.py", "bin/run"]), tmp_path / "toy.tar.gz")
    with tarfile.open(tmp_path / "toy.tar.gz") as archive:
        members = {m.name: (m.mode, m.uid, m.gid, m.mtime) for m in archive}
    assert members == {"toy/bin/run": (0o755, 0, 0, 0), "toy/lib/a.py": (0o644, 0, 0, 0)}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("psutil/_psutil_linux.abi3.so", True),
        ("psycopg-3.3.9.dist-info/METADATA", True),
        ("psycopg-3.3.9.dist-info/RECORD", False),
        ("yaml/_yaml.cpython-310-x86_64-linux-gnu.so", False),
        ("etcd/tests/test_auth.py", False),
    ],
)
def test_only_what_every_python_can_use_is_packed(path: str, wanted: bool) -> None:
    assert pack.wanted(PurePosixPath(path)) is wanted


def test_a_source_archive_gives_its_package_and_its_metadata(tmp_path: Path) -> None:
    archive = tmp_path / "python-etcd-0.4.5.tar.gz"
    with tarfile.open(archive, "w:gz") as source:
        for name in ("setup.py", "PKG-INFO", "src/etcd/lock.py", "src/python_etcd.egg-info/x"):
            member = tarfile.TarInfo(f"python-etcd-0.4.5/{name}")
            member.size = len(name)
            source.addfile(member, io.BytesIO(name.encode()))
    assert {str(path): content.decode() for path, content in pack.source_files(archive)} == {
        "python_etcd-0.4.5.dist-info/METADATA": "PKG-INFO",
        "etcd/lock.py": "src/etcd/lock.py",
    }
