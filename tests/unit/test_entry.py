"""Covers the steward of the entries as far as one host shows it; the rest is in tests/lab."""

from __future__ import annotations

import runpy
import subprocess
from typing import Any

import pytest

from tests import stacks

STEWARD: dict[str, Any] = runpy.run_path(
    str(stacks.REPOSITORY / "roles/control/usr/local/sbin/mesh-entry")
)


HERE, THERE, NOWHERE = {"hs-1"}, {"hs-2"}, set[str]()


class Entries:
    """The steward of hs-1, and what it would see and do."""

    def __init__(self) -> None:
        self.peer_works, self.leans = True, False
        config = {
            "host": "hs-1", "inside": "10.0.0.0/8", "socket": "", "peers": {"hs-2": "10.0.0.2"},
            "server_name": "hs.example", "ca": None,
        }  # fmt: skip
        self._steward = STEWARD["Steward"](config)
        self._steward._peer = self
        self._steward.look.__globals__["nft"] = self._nft

    def _nft(self, text: str) -> None:
        self.leans = "chain" in text

    def works(self) -> bool:
        return self.peer_works

    def looks(self, times: int, up: set[str] | None) -> bool:
        """Whether it leans after so many looks that find Headscale there; None: HAProxy is away."""
        for _ in range(times):
            if up is None:
                self._steward._proxy = type("Away", (), {"up": self._away})
            else:
                self._steward._proxy = type("Proxy", (), {"up": lambda: up, "streams": list})
            self._steward.look()
        return self.leans

    @staticmethod
    def _away() -> set[str]:
        raise ConnectionRefusedError("no socket")


@pytest.fixture
def entries() -> Entries:
    """Not leaning yet."""
    return Entries()


def test_clients_are_steered_away_only_after_fifteen_looks(entries: Entries) -> None:
    assert not entries.looks(14, HERE)
    assert entries.looks(1, HERE)


def test_a_headscale_that_is_started_again_here_finds_its_clients_at_the_other_entry(
    entries: Entries,
) -> None:
    entries.looks(15, HERE)

    assert entries.looks(5, NOWHERE)
    assert entries.looks(1, HERE)


def test_without_headscale_anywhere_both_entries_are_alike_in_the_end(entries: Entries) -> None:
    entries.looks(15, HERE)

    assert not entries.looks(6, NOWHERE)


@pytest.mark.parametrize("up", [THERE, None], ids=["Headscale runs there", "HAProxy is away"])
def test_nobody_is_steered_any_more_at_once_when(entries: Entries, up: set[str] | None) -> None:
    entries.looks(15, HERE)

    assert not entries.looks(1, up)


def test_a_blink_of_the_other_entry_changes_nothing_and_its_loss_does(entries: Entries) -> None:
    entries.looks(15, HERE)
    entries.peer_works = False

    assert entries.looks(5, HERE)
    assert not entries.looks(1, HERE)


def test_nobody_is_steered_to_an_entry_that_never_worked(entries: Entries) -> None:
    entries.peer_works = False

    assert not entries.looks(30, HERE)


def test_after_headscale_has_come_back_from_elsewhere_it_takes_fifteen_looks_again(
    entries: Entries,
) -> None:
    entries.looks(15, HERE)
    entries.looks(1, THERE)

    assert not entries.looks(14, HERE)
    assert entries.looks(1, HERE)


@pytest.mark.parametrize(
    ("age", "long"),
    [("0s", False), ("9s", False), ("10s", True), ("59s", True), ("1m0s", True), ("2d3h", True)],
)
def test_a_connection_counts_as_a_stream_after_ten_seconds(age: str, long: bool) -> None:
    assert STEWARD["lasted"](age) is long


def test_the_kernel_understands_the_rules() -> None:
    checked = subprocess.run(
        ["nft", "--check", "--file", "-"],
        input=STEWARD["rules"]("10.12.0.0/20"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
