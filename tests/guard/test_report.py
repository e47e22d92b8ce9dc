"""Covers what a guard tells people, Prometheus and systemd."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard import report
from lab.world.ports import free_port
from tests.guard import waiting
from tests.guard.conftest import MakeHost
from tests.guard.hosts import Host


class Systemd:
    """Receives what sd_notify(3) sends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.0)

    def hears(self) -> list[str]:
        """What came since the last time."""
        heard = []
        while True:
            try:
                heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return heard

    def end(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """The other end of NOTIFY_SOCKET."""
    made = Systemd(tmp_path / "notify")
    yield made
    made.end()


def metrics(host: Host) -> dict[str, float]:
    """By name and labels, as Prometheus reads them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{host.metrics_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@pytest.fixture
def active(host: MakeHost) -> Host:
    """A host that serves."""
    alone = host()
    alone.start()
    alone.until_serving()
    return alone


def test_the_status_file_is_one_line_with_all_that_a_person_asks_first(active: Host) -> None:
    text = Path(active.config["status_file"]).read_text()
    said = json.loads(text)

    assert text.count("\n") == 1
    assert (said["host"], said["role"], said["holder"]) == ("hs-1", "active", "hs-1")
    assert said["reason"] == "the fence is ours"
    assert 0 <= said["lease_age_s"] < active.config["timing"]["lease"]
    assert said["token"] > 0
    assert said["database"] is True
    assert said["takeovers"] == 1
    assert said["fencing_s"] > 0


def test_the_metrics_say_the_same_as_the_status(active: Host) -> None:
    def shown() -> dict[str, float]:
        now = metrics(active)
        return now if now["mesh_guard_server_up"] else {}

    seen = waiting.eventually("the server is up in the metrics", shown)

    assert seen['mesh_guard_role{role="active"}'] == 1
    assert seen['mesh_guard_role{role="standby"}'] == 0
    assert 0 <= seen["mesh_guard_lease_age_seconds"] < active.config["timing"]["lease"]
    assert seen["mesh_guard_takeovers_total"] == 1
    assert seen["mesh_guard_server_restarts_total"] == 0
    assert seen["mesh_guard_fencing_seconds"] > 0
    assert seen["mesh_guard_database_up"] == 1


def test_a_standby_says_who_holds_the_lease_and_that_it_has_none(
    active: Host, host: MakeHost
) -> None:
    standby = host("hs-2")
    standby.start()

    said = standby.until("knows the holder", lambda status: status["holder"] == "hs-1")

    assert (said["role"], said["lease_age_s"], said["token"]) == ("standby", None, None)
    assert metrics(standby)["mesh_guard_lease_age_seconds"] == -1


def test_systemd_hears_that_the_guard_is_ready_and_then_that_it_lives(
    host: MakeHost, systemd: Systemd
) -> None:
    alone = host()
    alone.environment["NOTIFY_SOCKET"] = str(systemd.path)
    heard: list[str] = []

    def hears(message: str) -> bool:
        heard.extend(systemd.hears())
        return any(message in one for one in heard)

    alone.start()

    waiting.eventually("ready", lambda: hears("READY=1"))
    waiting.eventually("the role", lambda: hears("WATCHDOG=1\nSTATUS=active"))


def test_systemd_hears_no_more_of_a_guard_that_is_stuck(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "STUCK_SECONDS", 1.0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    told = report.Report("hs-1", tmp_path / "status")
    told.open("127.0.0.1", free_port())
    waiting.eventually("alive at first", lambda: "WATCHDOG=1" in " ".join(systemd.hears()))

    waiting.eventually("silence", lambda: _silent_for_long(systemd))

    told.beat()
    waiting.eventually("alive again", lambda: "WATCHDOG=1" in " ".join(systemd.hears()))
    told.end()


def _silent_for_long(systemd: Systemd) -> bool:
    """Whether nothing came while several messages should have."""
    systemd.hears()
    try:
        waiting.throughout("silent", lambda: not systemd.hears(), 3 * report.BEAT_SECONDS)
    except AssertionError:
        return False
    return True


def test_a_status_file_that_cannot_be_written_does_not_silence_the_watchdog(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    told = report.Report("hs-1", tmp_path / "missing" / "status")
    told.open("127.0.0.1", free_port())
    heard: list[str] = []

    def hears_several() -> bool:
        heard.extend(one for one in systemd.hears() if "WATCHDOG=1" in one)
        return len(heard) > 2

    waiting.eventually("several messages", hears_several)
    told.end()


def test_a_metrics_port_in_use_is_told_in_a_line(host: MakeHost) -> None:
    alone = host()
    with socket.create_server(("127.0.0.1", alone.metrics_port)):
        alone.start()

        assert alone.guard.wait(waiting.PATIENCE) == 1
    assert f"metrics at 127.0.0.1:{alone.metrics_port}" in alone.log()
    assert "Traceback" not in alone.log()
