"""Covers what /etc/mesh/guard.json may say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guard import config
from tests.guard.hosts import ROOT

GOOD: dict[str, Any] = {
    "host": "hs-1",
    "peers": ["hs-2"],
    "endpoints": ["https://127.0.0.1:2379"],
    "prefix": "/mesh/headscale",
    "ca": "/etc/mesh/ca.pem",
    "certificate": "/etc/mesh/etcd.pem",
    "key": "/etc/mesh/etcd.key",
    "database": "host=127.0.0.1 dbname=headscale user=guard_hs_1",
    "password_file": "/etc/mesh/password",
    "command": ["/usr/local/bin/headscale", "serve"],
    "probe": "https://127.0.0.1:8443/version",
    "probe_name": "hs.example.org",
    "metrics_address": "127.0.0.1",
    "metrics_port": 9180,
    "status_file": "/run/mesh/guard.json",
    "hold_socket": "/run/mesh/hold.sock",
    "timing": {"lease": 8},
}


def written(folder: Path, **changes: object) -> Path:
    """A file with the good values, changed; None leaves a key out."""
    values = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    file = folder / "guard.json"
    file.write_text(json.dumps(values))
    return file


def test_what_is_not_said_of_timing_has_a_default(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path))

    assert loaded.peers == ("hs-2",)
    assert loaded.timing == config.Timing(lease=8)
    assert config.load(written(tmp_path, timing=None)).timing == config.Timing()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"peer": "hs-2"}, "peer: no such key; there are host, peers,"),
        ({"timing": {"ttl": 5}}, "timing.ttl: no such key; there are lease, margin,"),
        ({"prefix": None}, "prefix: missing"),
        ({"host": ""}, 'host: "": must be a text'),
        ({"command": "headscale serve"}, 'command: "headscale serve": must be a list of texts'),
        ({"metrics_port": "9180"}, 'metrics_port: "9180": must be a whole number above 0'),
        ({"timing": 5}, "timing: 5: must be an object"),
        ({"timing": {"lease": 2.5}}, "timing.lease: 2.5: must be a whole number above 0"),
        ({"timing": {"renew": 0}}, "timing.renew: 0: must be a number above 0"),
        ({"timing": {"crashes": True}}, "timing.crashes: true: must be a whole number above 0"),
        (
            {"timing": {"lease": 2}},
            "timing.lease: 2: must be at least 3, 1 (margin) and two renewals of 1",
        ),
        ({"timing": {"margin": 0.1}}, "timing.margin: 0.1: must be at least 0.3"),
        ({"timing": {"database": 2}}, "timing.database: 2: must be at least 4.5"),
        ({"timing": {"stop": 20}}, "timing.stop: 20: must be at most 5"),
    ],
)
def test_a_wrong_value_is_told_with_file_key_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    file = written(tmp_path, **changes)

    with pytest.raises(config.ConfigError) as refused:
        config.load(file)

    assert str(refused.value).startswith(f"{file}: {says}")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError) as refused:
        config.load(written(tmp_path, host=1, key=None, timing={"ttl": 5}))

    assert len(str(refused.value).splitlines()) == 3


@pytest.mark.parametrize("text", ["[]", "{", ""])
def test_a_file_that_is_no_object_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "guard.json"
    file.write_text(text)

    with pytest.raises(config.ConfigError, match=str(file)):
        config.load(file)


def test_the_program_ends_with_the_error_and_no_trace(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "guard", str(tmp_path / "missing.json")]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"guard: {tmp_path}/missing.json: ")
    assert "Traceback" not in ended.stderr
