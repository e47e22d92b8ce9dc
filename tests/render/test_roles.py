"""Every file of one host a role, and what the real checkers say to units and configuration.

Needs haproxy and systemd; Patroni and Headscale come from dist/ (make artifacts). Regenerate:
pytest tests/render/test_roles.py --snapshot-update.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mesh import bundle, headscale, registry
from tests import bundles, stacks

HOSTS: Final = ("hs-1", "pg-1", "ops-1", "derp-sh")
UNITS: Final = tuple(sorted((stacks.REPOSITORY / "roles").rglob("*.service")))
MOST_EXPOSED: Final = 2.0  # of 10, by systemd-analyze


class TextFile(SingleFileSnapshotExtension):
    """One readable file for each snapshot."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


PROGRAMS = ("/usr/local/sbin/", "/usr/local/lib/mesh/")


def listing(built: bundle.Bundle) -> str:
    """Each of the bundle's files with its rights, then units and checks."""
    parts = [
        f"==> {file.path} {file.mode} {file.owner}:{file.group}\n{file.content}"
        for file in built.files
        if not file.path.startswith(PROGRAMS)  # the same in the repository
    ]
    rest = [*built.users, *built.directories, *built.artifacts, *built.units, *built.checks]
    return "\n".join([*parts, *map(repr, rest)]) + "\n"


@pytest.mark.parametrize("name", HOSTS)
def test_the_host_gets_exactly_these_files(name: str, snapshot: SnapshotAssertion) -> None:
    assert listing(bundles.build("prod", name)) == snapshot(extension_class=TextFile, name=name)


def test_the_operations_host_with_an_arbiter_gets_exactly_these_files(
    snapshot: SnapshotAssertion,
) -> None:
    built = bundles.build("prod", "ops-1", {"arbiter": True})

    assert listing(built) == snapshot(extension_class=TextFile, name="arbiter")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_exposed_as_little_as_possible(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", str(unit)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)
    assert found, text
    assert float(found[1]) <= MOST_EXPOSED, text


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line_of_a_unit(unit: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    # The programs are on the hosts, not here; other units are not ours.
    faults = [
        line
        for line in result.stderr.splitlines()
        if unit.name in line and "is not executable" not in line
    ]
    assert not faults


@pytest.fixture
def key_pair(tmp_path: Path) -> Path:
    """A folder with a real certificate and key, under the names of /etc/mesh/tls."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "ca.crt").write_bytes(certificate)
    (tmp_path / "entry.pem").write_bytes(certificate + private)
    return tmp_path


@pytest.mark.parametrize("proxy", ["entry", "postgres"])
@pytest.mark.parametrize("stack", ["prod", "lab"])
def test_haproxy_accepts_its_configuration(stack: str, proxy: str, key_pair: Path) -> None:
    text = bundles.files(bundles.build(stack, "hs-1"))[f"/etc/haproxy/{proxy}.cfg"].content
    config = key_pair / f"{proxy}.cfg"
    config.write_text(
        text.replace("/etc/mesh/tls", str(key_pair)).replace("/etc/mesh/public", str(key_pair))
    )

    command = ["haproxy", "-c", "-f", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr, result.stderr


def program(name: str) -> Path:
    """A built program from dist/."""
    dist = stacks.REPOSITORY / "dist"
    manifest = json.loads((dist / "manifest.json").read_text())
    return dist / str(manifest[name]["path"])


@pytest.mark.parametrize("stack", ["prod", "lab"])
def test_patroni_accepts_its_configuration(stack: str, tmp_path: Path) -> None:
    with tarfile.open(program("patroni")) as archive:
        archive.extractall(tmp_path, filter="tar")
    config = tmp_path / "patroni.yml"
    config.write_text(
        bundles.files(bundles.build(stack, "pg-1"))["/etc/patroni/patroni.yml"].content
    )

    patroni = ["/usr/bin/python3", "-I", "-S", str(tmp_path / "patroni/bin/patroni")]
    command = [*patroni, "--validate-config", "--ignore-listen-port", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    # Names of other hosts and PostgreSQL's programs exist on the host only.
    here = ("Name or service not known", "Temporary failure in name resolution", "bin_dir")
    faults = [
        line
        for line in (result.stdout + result.stderr).splitlines()
        if line and not any(reason in line for reason in here)
    ]
    assert not faults


def test_headscale_accepts_the_policy(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    login = headscale.Login(host="unused", user="unused", password="unused")
    config.write_text(
        headscale.configuration(stacks.load("prod"), stacks.build("prod"), login)
        .replace("type: postgres", f"type: sqlite\n  sqlite: {{path: {tmp_path}/db.sqlite}}")
        .replace("/etc/headscale/noise.key", f"{tmp_path}/noise.key")
    )
    policy = tmp_path / "policy.hujson"
    policy.write_text(registry.load(stacks.REPOSITORY / "policy").policy)

    check = ["policy", "check", "--bypass-grpc-and-access-database-directly"]
    command = [str(program("headscale")), "--config", str(config), "--force", *check]
    result = subprocess.run(
        [*command, "--file", str(policy)], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
