"""Covers how an etcd member starts, by what the other voters say of it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import bundles, stacks

SCRIPT = stacks.REPOSITORY / "roles/etcd/usr/local/sbin/mesh-etcd-join"
OWN_URL = "https://10.10.6.10:2380"


@pytest.fixture
def join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script's names, with an etcdctl that says what `members.json` holds and writes down
    what it is asked to change; without the file it fails."""
    etcdctl = tmp_path / "etcdctl"
    etcdctl.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *"member list"*) cat {tmp_path}/members.json;;\n'
        f'*) echo "$*" | sed "s/.*command-timeout=3s //" >> {tmp_path}/changes;; esac\n'
    )
    etcdctl.chmod(0o755)
    names = runpy.run_path(str(SCRIPT))
    names["Voters"].__init__.__globals__["ETCDCTL"] = str(etcdctl)
    return names


def config() -> dict[str, Any]:
    """pg-1's configuration as rendered."""
    text = bundles.files(bundles.build("prod", "pg-1"))["/etc/etcd/etcd.yml"].content
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def members(tmp_path: Path, *own: dict[str, Any]) -> None:
    """What the others answer."""
    other = {"ID": 1, "name": "pg-2", "peerURLs": ["https://x:2380"], "clientURLs": ["y"]}
    (tmp_path / "members.json").write_text(json.dumps({"members": [other, *own]}))


def changes(tmp_path: Path) -> list[str]:
    """What etcdctl was asked to change."""
    file = tmp_path / "changes"
    return file.read_text().splitlines() if file.exists() else []


def test_without_a_quorum_of_the_others_it_is_a_founder(join: Any, tmp_path: Path) -> None:
    assert join["state"](config()) == "new"
    assert changes(tmp_path) == []


def test_a_founder_that_is_late_joins_without_any_change(join: Any, tmp_path: Path) -> None:
    members(tmp_path, {"ID": 2, "name": "pg-1", "peerURLs": [OWN_URL]})

    assert join["state"](config()) == "existing"
    assert changes(tmp_path) == []


def test_a_host_built_anew_takes_the_place_of_its_lost_self(join: Any, tmp_path: Path) -> None:
    lost = {"ID": 255, "name": "pg-1", "peerURLs": [OWN_URL], "clientURLs": ["z"]}
    members(tmp_path, lost)

    assert join["state"](config()) == "existing"
    assert changes(tmp_path) == ["member remove ff", f"member add pg-1 --peer-urls={OWN_URL}"]


def test_a_join_that_stopped_half_way_is_finished(join: Any, tmp_path: Path) -> None:
    members(tmp_path)

    assert join["state"](config()) == "existing"
    assert changes(tmp_path) == [f"member add pg-1 --peer-urls={OWN_URL}"]
