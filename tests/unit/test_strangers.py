"""Covers what is read from derpprobe's words; tests/lab asks real relays."""

from __future__ import annotations

import pytest

from drills import strangers

SAID = """\
2026/11/26 05:50:37 probe derp/bj/900a/900a/mesh: derp.Recv: EOF
2026/11/26 05:50:45 good: derp/bj/900a/udp: 398.602µs
2026/11/26 05:50:45 good: derp/sh/901a/901a/mesh: 198.875767ms
2026/11/26 05:50:45 good: derpmap-probe: 12.03061ms
2026/11/26 05:50:45 bad: derp/bj/900a/900a/mesh: derp.Recv: EOF
2026/11/26 05:50:45 bad: derp/sh/901a/tls: certificate expired
"""


def test_a_region_carries_packets_if_a_probe_through_it_passed() -> None:
    assert strangers.carried(SAID, ["bj", "sh"]) == {"bj": False, "sh": True}


def test_a_region_that_was_not_tried_refuses_nobody() -> None:
    with pytest.raises(ValueError, match="did not try hk"):
        strangers.carried(SAID, ["bj", "hk"])
