"""Covers what is read from derpprobe's metrics, and for how long each probe counts as failing."""

from __future__ import annotations

import pytest

from relays.decision import Health
from relays.probes import STALE, Result, Run, advance, health, results

MESH = 'class="derp_mesh",derp_path="single",name="derp/sh/901a/901a/mesh",region="sh"'
UDP = 'address_family="ipv4",class="derp_udp",name="derp/sh/901a/udp",region="sh"'
METRICS = f"""\
# TYPE derpprobe_end_secs gauge
derpprobe_end_secs{{class="derp_map",name="derpmap-probe"}} 1.795484661e+09
derpprobe_end_secs{{{MESH}}} 1.795484661e+09
derpprobe_in_flight{{{UDP}}} 1
derpprobe_result{{class="derp_map",name="derpmap-probe"}} 1
derpprobe_result{{{MESH}}} 0
derpprobe_start_secs{{{UDP}}} 1.79548466e+09
"""


def said(kind: str, passed: bool, *ends: float, relay: str = "sh") -> list[Result]:
    """The same verdict of one probe at several times."""
    name = f"derp/{relay}/901a/{kind}"
    return [Result(name=name, relay=relay, kind=kind, passed=passed, end=end) for end in ends]


def after(*found: Result) -> dict[str, Run]:
    """The runs that follow from results, one after the other."""
    runs: dict[str, Run] = {}
    for result in found:
        runs = advance(runs, [result])
    return runs


def test_a_result_is_read_with_its_end_and_unfinished_probes_are_not() -> None:
    (found,) = results(METRICS)

    assert found == Result(
        name="derp/sh/901a/901a/mesh",
        relay="sh",
        kind="derp_mesh",
        passed=False,
        end=1795484661,
    )


@pytest.mark.parametrize("text", ["", "no metrics at all\n", "derpprobe_result{} 1\n"])
def test_other_text_holds_no_results(text: str) -> None:
    assert results(text) == []


def test_failing_is_counted_from_the_first_failure_in_a_row() -> None:
    runs = after(
        *said("derp_mesh", True, 100),
        *said("derp_mesh", False, 115, 130, 145),
        *said("derp_udp", True, 100, 115, 130, 145),
    )

    assert health(runs, "sh", 150) == Health(failing=30, faults=("DERP",))


def test_one_success_ends_the_count() -> None:
    runs = after(*said("derp_udp", False, 100, 115), *said("derp_udp", True, 130))

    assert health(runs, "sh", 130) == Health(), "and nothing is known of the other probe"


def test_time_passes_only_between_results() -> None:
    runs = after(*said("derp_mesh", False, 100, 115))

    assert advance(runs, said("derp_mesh", False, 115)) == runs
    assert health(runs, "sh", 115 + STALE).failing == 15
    assert health(runs, "sh", 116 + STALE) == Health(), "old results are no evidence"


@pytest.mark.parametrize("gap", [STALE + 1, 3600, -3600])
def test_a_gap_or_a_clock_that_was_set_starts_the_count_anew(gap: float) -> None:
    runs = after(*said("derp_mesh", False, 10000, 10000 + gap))

    assert health(runs, "sh", 10000 + gap) == Health(failing=0, faults=("DERP",))


def test_a_relay_passes_when_both_essential_probes_do() -> None:
    mesh, udp = said("derp_mesh", True, 100, 145), said("derp_udp", True, 130, 145)

    assert health(after(*mesh), "sh", 145) == Health()
    assert health(after(*mesh, *udp), "sh", 145) == Health(passing=15)


def test_a_certificate_that_ends_soon_is_no_reason_to_leave() -> None:
    essential = [*said("derp_mesh", True, 100, 145), *said("derp_udp", True, 100, 145)]
    runs = after(*essential, *said("tls", False, 100, 145))

    assert health(runs, "sh", 145) == Health(passing=45)


def test_relays_are_told_apart() -> None:
    runs = after(*said("derp_mesh", False, 100, relay="sh"), *said("derp_mesh", True, 100))

    assert health(runs, "hk", 100) == Health()
