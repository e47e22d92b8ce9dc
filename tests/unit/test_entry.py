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
