"""Covers what follows from a host's size and the number of nodes; what it is good for is measured
by benchmarks, not here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import capacity, settings
from mesh.capacity import Tuning
from tests import stacks

AUTO = Tuning()
CPUS = st.integers(1, 64)
MEMORY = st.integers(1, 512)
NODES = st.integers(1, capacity.MOST_NODES)


@pytest.mark.parametrize(("cpus", "workers"), [(1, 1), (2, 1), (4, 3), (8, 6)])
def test_workers_leave_a_quarter_of_the_cpus_to_what_they_work_for(cpus: int, workers: int) -> None:
    assert capacity.workers(cpus, AUTO) == workers


@pytest.mark.parametrize(
    ("memory", "nodes", "slots"),
    [(8, 300, 2000), (8, 1000, 4000), (4, 5000, 6710), (1, 5000, 1677)],
)
def test_a_queue_holds_a_storm_of_all_nodes_unless_the_memory_is_too_small(
    memory: int, nodes: int, slots: int
) -> None:
    assert capacity.queue(memory, nodes, AUTO) == slots


@given(memory=MEMORY, nodes=NODES)
def test_all_queues_together_take_a_sixteenth_of_the_memory_at_most(
    memory: int, nodes: int
) -> None:
    assert capacity.queue(memory, nodes, AUTO) * 8 * nodes <= memory * 2**30 / 16


@pytest.mark.parametrize(("nodes", "changes"), [(30, 100), (1000, 1000)])
def test_the_changes_of_a_storm_are_gathered_into_one(nodes: int, changes: int) -> None:
    assert capacity.headscale(2, 4, nodes, AUTO)["node_store_batch_size"] == changes


@given(nodes=NODES)
def test_every_client_is_let_in_before_it_gives_up(nodes: int) -> None:
    assert nodes / capacity.arrivals(nodes) <= 10 / 2


@given(memory=MEMORY)
def test_headscale_leaves_memory_to_the_entry_or_takes_half(memory: int) -> None:
    limit = capacity.memory_limit_mib(memory)

    assert memory * 1024 / 2 <= limit < memory * 1024


@given(cpus=CPUS, build=st.sampled_from(["patched", "stock"]))
def test_another_cpu_carries_more(cpus: int, build: capacity.Build) -> None:
    one, more = (capacity.carried(number, AUTO, build) for number in (cpus, cpus + 1))

    assert one < more


@pytest.mark.parametrize(
    ("build", "carried", "never"), [("patched", 200_000, 270_000), ("stock", 4_500, 24_000)]
)
def test_two_cpus_carry_what_was_measured(build: capacity.Build, carried: int, never: int) -> None:
    assert carried < capacity.carried(2, AUTO, build) < never


def test_nodes_that_the_entry_could_not_hold_are_refused() -> None:
    small = {"cpus": 1, "memory_gib": 1, "disk_gib": 20}

    with pytest.raises(settings.SettingsError) as refused:
        stacks.load("prod", {"control.headscale": small, "expected_nodes": 1001})

    assert "mesh:expected_nodes: 1001 nodes need 2002 connections" in str(refused.value)
    assert "holds 2000; give control.headscale more memory_gib" in str(refused.value)
