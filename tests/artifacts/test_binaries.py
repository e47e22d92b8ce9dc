"""What the catalogue yields: binaries of the locked version, the same when built twice."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifacts import build

Locate = Callable[[str], Path]
LOCKED = {artifact.name: artifact.version for artifact in build.catalogue()}
ARTIFACTS = Path(build.__file__).parent
PROBE = """
import etcd, patroni.dcs.etcd3, psutil, psycopg

print(etcd.__file__, patroni.__file__, psutil.__file__, psycopg.__file__, sep="\\n")
"""


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("headscale", ["version"], "headscale version v{}\n"),
        ("headscale-stock", ["version"], "headscale version v{}\n"),
        ("tailscale", ["version"], "{}\n"),
        ("tailscaled", ["--version"], "{}\n"),
        ("derper", ["-version"], "{}\n"),
        ("derpprobe", ["-version"], "{}\n"),
        ("etcd", ["--version"], "etcd Version: {}\n"),
        ("etcdctl", ["version"], "etcdctl version: {}\n"),
        ("lego", ["--version"], "lego version {} "),
        ("pebble", ["-version"], "Pebble version: {}\n"),
        ("pulumi", ["version"], "v{}\n"),
    ],
)
def test_a_binary_reports_the_locked_version(
    locate: Locate, name: str, arguments: list[str], says: str
) -> None:
    assert output(locate(name), *arguments).startswith(says.format(LOCKED[name]))


@pytest.mark.parametrize("name", ["stunc", "mesh-load"])
def test_what_reports_no_version_is_linked_from_the_locked_module(
    locate: Locate, name: str
) -> None:
    stated = f"tailscale.com\tv{LOCKED[name]}\t".encode()
    assert stated in locate(name).read_bytes()


@dataclass(frozen=True)
class Database:
    """A Headscale's, and its configuration."""

    folder: Path

    def use(self, headscale: Path) -> subprocess.CompletedProcess[str]:
        """Open and migrate it, as a start does."""
        line = [str(headscale), "configtest", "--config", f"{self.folder}/config.yaml"]
        return subprocess.run(line, text=True, capture_output=True, check=False)

    def last_used_by(self) -> str:
        """The release that it notes."""
        with closing(sqlite3.connect(self.folder / "db.sqlite")) as database:
            ((version,),) = database.execute("SELECT version FROM database_versions").fetchall()
        return str(version)

    def pretend(self, version: str) -> None:
        """As if that release had used it last."""
        with closing(sqlite3.connect(self.folder / "db.sqlite")) as database, database:
            database.execute("UPDATE database_versions SET version = ?", (version,))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Not there yet."""
    (tmp_path / "derp.yaml").write_text("regions: {}\n")
    (tmp_path / "config.yaml").write_text(f"""
server_url: https://hs.test
listen_addr: 127.0.0.1:0
noise: {{private_key_path: {tmp_path}/noise.key}}
prefixes: {{v4: 100.64.0.0/10}}
derp: {{urls: [], paths: [{tmp_path}/derp.yaml]}}
database: {{type: sqlite, sqlite: {{path: {tmp_path}/db.sqlite}}}}
dns: {{magic_dns: false, override_local_dns: false}}
disable_check_updates: true
""")
    return Database(tmp_path)


@pytest.mark.parametrize("name", ["headscale", "headscale-stock"])
def test_headscale_writes_its_release_into_the_database(
    locate: Locate, database: Database, name: str
) -> None:
    """Else its check against downgrades and skipped minor releases would never look."""
    assert database.use(locate(name)).returncode == 0
    assert database.last_used_by() == f"v{LOCKED[name]}"


@pytest.mark.parametrize(
    ("first", "then"), [("headscale", "headscale-stock"), ("headscale-stock", "headscale")]
)
def test_our_revision_and_the_release_itself_take_over_each_others_database(
    locate: Locate, database: Database, first: str, then: str
) -> None:
    database.use(locate(first))
    assert database.use(locate(then)).returncode == 0
    assert database.last_used_by() == f"v{LOCKED[then]}"


@pytest.mark.parametrize(("version", "why"), [("v0.30.0", "downgrading"), ("v0.27.1", "more than")])
def test_our_revision_still_refuses_a_downgrade_and_a_skipped_minor_release(
    locate: Locate, database: Database, version: str, why: str
) -> None:
    database.use(locate("headscale"))
    database.pretend(version)
    refused = database.use(locate("headscale"))
    assert refused.returncode != 0
    assert f"v{LOCKED['headscale']}" in refused.stderr and why in refused.stderr
    assert database.last_used_by() == version


@pytest.fixture
def patroni(locate: Locate, tmp_path: Path) -> Path:
    """The unpacked Patroni."""
    shutil.unpack_archive(locate("patroni"), tmp_path, filter="data")
    return tmp_path / "patroni"


def test_patroni_reports_the_locked_version(patroni: Path) -> None:
    assert output(patroni / "bin" / "patroni", "--version") == f"patroni {LOCKED['patroni']}\n"
    stated = output(patroni / "bin" / "patronictl", "version")
    assert stated == f"patronictl version {LOCKED['patroni']}\n"


def test_patroni_loads_nothing_that_the_host_has_installed(patroni: Path) -> None:
    launcher = (patroni / "bin" / "patroni").read_text().partition("if __name__")[0]
    probe = patroni / "bin" / "probe"
    probe.write_text(launcher + PROBE)
    probe.chmod(0o755)
    loaded = [Path(line) for line in output(probe).splitlines()]
    assert len(loaded) == 4
    assert all(path.is_relative_to(patroni / "lib") for path in loaded)


def test_patroni_finds_fault_with_a_wrong_configuration(patroni: Path, tmp_path: Path) -> None:
    (tmp_path / "patroni.yml").write_text("name: pg-1\nscope: mesh\n")
    check = [f"{patroni}/bin/patroni", "--validate-config", f"{tmp_path}/patroni.yml"]
    done = subprocess.run(check, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert re.search(r"^postgresql\b.* is not defined", done.stdout + done.stderr, re.MULTILINE)


@pytest.mark.slow
def test_building_twice_in_different_places_gives_the_same_file(tmp_path: Path) -> None:
    """With a compiler cache in common, but linked afresh."""
    compiled = output("go", "env", "GOCACHE").strip()
    digests = []
    for place in (tmp_path / "one", tmp_path / "two"):
        shutil.copytree(ARTIFACTS, place / "artifacts")
        command = [sys.executable, f"{place}/artifacts/build.py", "--only", "stunc"]
        environment = {"GOCACHE": compiled, "XDG_CACHE_HOME": str(place / "cache")}
        subprocess.run(command, check=True, env=os.environ | environment)
        digests.append(build.read_manifest(place / "dist")["stunc"]["sha256"])
    assert digests[0] == digests[1]
