"""Covers when an arbiter is sure, by examples and properties; no clock, no network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.arbiter.knock import Answer
from guard.arbiter.patroni import Cluster, Word, heard
from guard.arbiter.verdict import FRESH_SECONDS, Case, Look, Rules, Verdict

RULES: Final = Rules()
STEP: Final = 0.5  # s between two looks
TOOK: Final = 0.1
LOOKS: Final = 20  # more than enough
CLUSTER: Final = Cluster(
    leader="pg-1",
    unrenewed=9.0,
    in_sync=("pg-2",),
    synchronous=True,
    paused=False,
    planned=False,
    revisions={"leader": 7, "sync": 8, "config": 9, "failover": 0},
)
WORD: Final = Word(ready=True, streaming=False, failsafe=False)
SILENT: Final[dict[str, Answer]] = {"a": "silent", "b": "silent", "c": "silent"}
GONE: Final = Look(began=0.0, ended=TOOK, cluster=CLUSTER, knocks=SILENT, standby="pg-2", word=WORD)


def at(look: Look, seconds: float) -> Look:
    return replace(look, began=seconds, ended=seconds + look.ended - look.began)


def verdicts(looks: Sequence[Look]) -> list[Verdict]:
    case = Case(RULES)
    return [case.hear(at(look, number * STEP)) for number, look in enumerate(looks)]


def cluster(**changes: Any) -> Look:
    return replace(GONE, cluster=replace(CLUSTER, **changes))


def test_it_is_sure_when_everything_has_spoken_for_it_long_enough() -> None:
    found = verdicts([GONE] * LOOKS)

    sure = [number * STEP for number, verdict in enumerate(found) if verdict.sure]
    assert sure[0] == RULES.silent
    assert found[int(sure[0] / STEP)].reason == "pg-1 is gone"


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (replace(GONE, cluster=None), "no quorum of etcd answers"),
        (cluster(leader=""), "nobody leads"),
        (cluster(synchronous=False), "the database is not synchronous"),
        (cluster(in_sync=()), "pg-2 is not in sync"),
        (cluster(in_sync=("pg-3",)), "pg-2 is not in sync"),
        (cluster(in_sync=("pg-2", "pg-3")), "pg-2 is not in sync"),
        (cluster(paused=True), "Patroni is paused"),
        (cluster(planned=True), "a switchover was asked for"),
        (cluster(unrenewed=1.0), "pg-1 renews its lease"),
        (cluster(unrenewed=5.9), "pg-1's lease is 5.9 s old"),
        (replace(GONE, knocks={**SILENT, "b": "alive"}), "pg-1 answers, or nobody can tell"),
        (replace(GONE, knocks={**SILENT, "b": "unknown"}), "pg-1 answers, or nobody can tell"),
        (replace(GONE, knocks={}), "pg-1 answers, or nobody can tell"),
        (replace(GONE, word=None), "pg-2 does not answer"),
        (replace(GONE, word=replace(WORD, ready=False)), "pg-2 may not be promoted"),
        (replace(GONE, word=replace(WORD, streaming=True)), "pg-2 receives from pg-1"),
        (
            replace(GONE, word=replace(WORD, failsafe=True)),
            "pg-1 goes on without etcd, and pg-2 has agreed",
        ),
        (replace(GONE, ended=FRESH_SECONDS + 1), "looking took too long"),
    ],
)
def test_one_thing_that_speaks_against_it_is_enough(look: Look, reason: str) -> None:
    found = verdicts([look] * LOOKS)

    assert not any(verdict.sure for verdict in found)
    assert found[-1].reason == reason


@pytest.mark.parametrize(
    "look",
    [
        replace(GONE, cluster=None),
        replace(GONE, knocks={**SILENT, "b": "alive"}),
        cluster(in_sync=()),
        cluster(paused=True),
        cluster(revisions={**CLUSTER.revisions, "leader": 12}),
        replace(GONE, word=replace(WORD, failsafe=True)),
    ],
)
def test_one_look_that_speaks_against_it_begins_the_count_anew(look: Look) -> None:
    before = int(RULES.silent / STEP) - 1

    found = verdicts([*[GONE] * before, look, *[GONE] * LOOKS])

    first = next(number for number, verdict in enumerate(found) if verdict.sure)
    assert (first - before) * STEP >= RULES.silent


def test_an_arbiter_that_slept_begins_anew() -> None:
    case = Case(RULES)
    assert not case.hear(at(GONE, 0.0)).sure

    late = RULES.silent + FRESH_SECONDS + 1

    assert not case.hear(at(GONE, late)).sure, "what was between the two looks is not known"


# Properties

_KNOCKS = st.sampled_from(
    [{}, SILENT, SILENT, {**SILENT, "a": "alive"}, {**SILENT, "c": "unknown"}]
)
_WORDS = st.sampled_from(
    [
        None,
        *[WORD] * 3,
        replace(WORD, streaming=True),
        replace(WORD, ready=False),
        replace(WORD, failsafe=True),
    ]
)
_CLUSTERS = st.sampled_from(
    [
        None,
        *[CLUSTER] * 6,
        replace(CLUSTER, unrenewed=0.0),
        replace(CLUSTER, in_sync=()),
        replace(CLUSTER, paused=True),
        replace(CLUSTER, planned=True),
        replace(CLUSTER, revisions={**CLUSTER.revisions, "leader": 8}),
    ]
)
_SEEN = st.builds(
    lambda cluster, knocks, word: replace(GONE, cluster=cluster, knocks=knocks, word=word),
    _CLUSTERS,
    _KNOCKS,
    _WORDS,
)
_GAPS = st.sampled_from([0.2, 0.5, 0.5, 0.5, 1.0, FRESH_SECONDS + 0.2, 9.0])
# Mostly like the last one, as in life: a row of looks that differ by chance never gets far.
_SPELLS = st.lists(st.tuples(st.one_of(st.just(GONE), _SEEN), st.integers(1, 14), _GAPS))


def _row(spells: list[tuple[Look, int, float]]) -> list[Look]:
    looks, now = [], 0.0
    for look, times, gap in spells:
        for _ in range(times):
            looks.append(at(look, now))
            now = looks[-1].ended + gap
    return looks


def _speaks_against(look: Look) -> bool:
    """Said again, and more bluntly than the program says it."""
    found, word = look.cluster, look.word
    return (
        found is None
        or found.in_sync != ("pg-2",)
        or found.paused
        or found.planned
        or set(look.knocks.values()) != {"silent"}
        or (word is not None and word.failsafe)
    )


@given(_SPELLS)
@example([(GONE, LOOKS, STEP)])
def test_it_is_never_sure_while_anything_within_its_time_speaks_against_it(
    spells: list[tuple[Look, int, float]],
) -> None:
    case, looks = Case(RULES), _row(spells)
    for number, look in enumerate(looks):
        if not case.hear(look).sure:
            continue
        seen = [one for one in looks[: number + 1] if one.began > look.began - RULES.silent]
        assert not any(_speaks_against(one) for one in seen)
        assert look.cluster is not None
        assert look.cluster.unrenewed >= RULES.unrenewed
        assert look.word == WORD
        assert all(one.cluster == look.cluster for one in seen), "of one leader, and one only"
        starts = [one.began for one in seen]
        pairs = itertools.pairwise(starts)
        assert all(later - sooner < FRESH_SECONDS + 1 for sooner, later in pairs), "it slept"
        assert looks[0].began <= look.began - RULES.silent


@given(_SPELLS)
def test_whatever_was_before_it_is_sure_once_all_speaks_for_it(
    spells: list[tuple[Look, int, float]],
) -> None:
    row = _row([*spells, (GONE, LOOKS, STEP)])
    case = Case(RULES)

    assert [case.hear(look) for look in row][-1].sure


# What Patroni says


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (
            {"state": "running", "role": "replica"},
            Word(ready=True, streaming=False, failsafe=False),
        ),
        (
            {"state": "running", "role": "replica", "replication_state": "streaming"},
            Word(ready=True, streaming=True, failsafe=False),
        ),
        (
            {"state": "running", "role": "primary"},
            Word(ready=False, streaming=False, failsafe=False),
        ),
        (
            {"state": "starting", "role": "replica"},
            Word(ready=False, streaming=False, failsafe=False),
        ),
        (
            {"state": "running", "role": "replica", "tags": {"nofailover": True}},
            Word(ready=False, streaming=False, failsafe=False),
        ),
        (
            {"state": "running", "role": "replica", "pause": True},
            Word(ready=False, streaming=False, failsafe=False),
        ),
        (
            {"state": "running", "role": "replica", "failsafe_mode_is_active": True},
            Word(ready=True, streaming=False, failsafe=True),
        ),
        ({}, Word(ready=False, streaming=False, failsafe=False)),
    ],
)
def test_a_members_status_is_understood(status: dict[str, Any], word: Word) -> None:
    assert heard(status) == word
