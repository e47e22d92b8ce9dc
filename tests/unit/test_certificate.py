"""Covers when a host asks for a certificate, and what it is told; tests/lab gets real ones."""

from __future__ import annotations

import datetime
import json
import runpy
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mesh import derp
from mesh.roles import certificate
from tests import bundles, stacks

SCRIPT = stacks.REPOSITORY / "roles/common/usr/local/sbin/mesh-certificate"
WANTED = {"names": ["derp-bj.ops.example.com"], "directory": "https://acme.example.com/directory"}
CONFIG = "/etc/mesh/certificate.json"


@pytest.fixture
def script(tmp_path: Path) -> dict[str, Any]:
    """The script's functions, with their state below the test's folder."""
    loaded = runpy.run_path(str(SCRIPT))
    names = loaded["main"].__globals__
    names |= {"STATE": tmp_path, "ISSUED": tmp_path / "issued.json"}
    (tmp_path / "certificates").mkdir()
    return loaded


def issue(folder: Path, *, began: float, ends: float) -> None:
    """A certificate of the wanted name, from and until so many hours from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, WANTED["names"][0])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now + datetime.timedelta(hours=began))
        .not_valid_after(now + datetime.timedelta(hours=ends))
        .sign(key, hashes.SHA256())
    )
    place = folder / "certificates" / WANTED["names"][0]
    place.with_name(f"{place.name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    place.with_name(f"{place.name}.key").write_text("KEY")
    (folder / "issued.json").write_text(json.dumps(WANTED))


def is_due(script: Mapping[str, Any], wanted: Mapping[str, Any] = WANTED) -> bool:
    return bool(script["Certificate"](WANTED["names"][0]).is_due(dict(wanted)))


def test_a_certificate_is_due_when_there_is_none(script: Mapping[str, Any]) -> None:
    assert is_due(script)


@pytest.mark.parametrize(("began", "ends", "due"), [(-1, 3, False), (-3, 1, True), (-3, -1, True)])
def test_a_certificate_is_due_when_a_third_of_its_life_is_left(
    began: float, ends: float, due: bool, script: Mapping[str, Any], tmp_path: Path
) -> None:
    issue(tmp_path, began=began, ends=ends)

    assert is_due(script) is due


@pytest.mark.parametrize("key", list(WANTED))
def test_a_certificate_is_due_when_it_was_asked_for_something_else(
    key: str, script: Mapping[str, Any], tmp_path: Path
) -> None:
    issue(tmp_path, began=-1, ends=3)

    assert is_due(script, {**WANTED, key: "another"})


def test_the_kernel_understands_the_way_of_a_challenge(script: Mapping[str, Any]) -> None:
    sent: list[str] = []
    script["challenge_port"].__wrapped__.__globals__["nft"] = lambda *lines: sent.extend(lines)
    script["challenge_port"].__wrapped__.__globals__["run"] = lambda *command, **more: ""
    with script["challenge_port"](5402):
        rules = [line for line in sent if line.startswith("table")]

    checked = subprocess.run(
        ["nft", "--check", "--file", "-"],
        input="\n".join(rules) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert rules
    assert checked.returncode == 0, checked.stderr


def config(how: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a relay with that kind of certificate is told, and all of its files."""
    files = bundles.files(bundles.build("prod", "derp-bj", {"relays.0.certificate": how}))
    text = files[CONFIG].content if CONFIG in files else "{}"
    return json.loads(text), {path: file.content for path, file in files.items()}


def test_a_relay_by_dns_names_its_secrets_by_file_only() -> None:
    told, files = config("dns")

    assert told["challenge"] == ["--dns", "alidns"]
    for name, value in bundles.CREDENTIAL.items():
        assert files[told["environment"][f"{name}_FILE"]] == value
        assert value not in json.dumps(told)


def test_a_relay_by_http_holds_no_key_of_the_zone() -> None:
    told, files = config("http")

    assert told["challenge"][0] == "--http"
    assert told["redirect"] == 5402
    assert not any(
        value in content for value in bundles.CREDENTIAL.values() for content in files.values()
    )


def test_a_pinned_relay_asks_nobody() -> None:
    told, files = config("pinned")

    assert not told
    assert files["/etc/derper/derp-bj.ops.company.com.crt"] == "CERTIFICATE OF derp-bj\n"


def test_amazon_s_own_library_gets_its_own_file() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "ID", "AWS_SECRET_ACCESS_KEY": "KEY", "AWS_REGION": "us-east-1"}
    settings = stacks.load("prod", {"dns.provider": "route53"})

    built = certificate.bundle(settings, ["a.b"], [], ("try-restart", "x"), keys, bundles.ARTIFACTS)

    files = bundles.files(built)
    told = json.loads(files[CONFIG].content)["environment"]
    assert told == {"AWS_REGION": "us-east-1", "AWS_SHARED_CREDENTIALS_FILE": "/etc/mesh/acme/aws"}
    assert "aws_secret_access_key = KEY" in files["/etc/mesh/acme/aws"].content


def test_two_relays_of_a_region_are_nodes_of_it() -> None:
    second = {**stacks.values("prod")["relays"][0], "number": 2, "cidr": "10.20.9.0/24"}
    settings = stacks.load("prod", {"relays": [*stacks.values("prod")["relays"], second]})
    addresses = {**bundles.RELAYS.addresses, "derp-bj-2": "198.51.100.9"}

    nodes = derp.full(settings, derp.Nodes(addresses, {}))["regions"]["900"]["nodes"]

    assert [(node["name"], node["hostname"].split(".")[0]) for node in nodes] == [
        ("900a", "derp-bj"),
        ("900b", "derp-bj-2"),
    ]
