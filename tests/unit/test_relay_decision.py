"""Covers which relays leave the map and come back: by examples, and what holds for all cases."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from relays.decision import OPERATOR, WISHES, Health, Out, Timing, Wishes, decide, sick

TIMING = Timing(away_after=180, back_after=60)
WELL = Health(passing=1000)
DEAD = Health(failing=180, faults=("DERP", "STUN"))
SHAKY = Health(failing=179, faults=("STUN",))
UNKNOWN = Health()
BEFORE = "2026-01-01T00:00:00Z"
NOW = "2026-01-02T00:00:00Z"
RELAYS = ("bj", "sh", "hk", "sg")


def out(why: str = "DERP failed for 181 s", since: str = BEFORE) -> Out:
    return Out(since=since, why=why)


def four(**changed: Health) -> dict[str, Health]:
    """The relays, well but for some."""
    return {relay: changed.get(relay, WELL) for relay in RELAYS}


def test_a_relay_that_failed_for_long_enough_leaves_with_its_reason() -> None:
    decided = decide(four(sh=DEAD, hk=SHAKY), {}, Wishes(), TIMING, NOW)

    assert decided == {"sh": Out(since=NOW, why="DERP and STUN failed for 180 s")}


def test_it_stays_out_for_the_same_reason_until_it_has_passed_for_long_enough() -> None:
    before = {"sh": out()}

    for not_yet in (DEAD, SHAKY, UNKNOWN, Health(passing=59)):
        assert decide(four(sh=not_yet), before, Wishes(), TIMING, NOW) == before
    assert decide(four(sh=Health(passing=60)), before, Wishes(), TIMING, NOW) == {}


def test_a_second_one_leaves_only_when_an_operator_raised_the_limit() -> None:
    healths = four(sh=DEAD, hk=Health(failing=500, faults=("DERP",)))

    assert set(decide(healths, {"sh": out()}, Wishes(), TIMING, NOW)) == {"sh"}
    assert set(decide(healths, {"sh": out()}, Wishes(limit=2), TIMING, NOW)) == {"sh", "hk"}
    assert set(decide(healths, {}, Wishes(), TIMING, NOW)) == {"hk"}, "it failed for longest"


def test_when_more_than_half_fail_none_leaves_but_who_is_out_stays_out() -> None:
    healths = four(bj=DEAD, sh=DEAD, hk=SHAKY)

    assert decide(healths, {}, Wishes(limit=3), TIMING, NOW) == {}
    assert decide(healths, {"bj": out()}, Wishes(limit=3), TIMING, NOW) == {"bj": out()}


def test_a_relay_under_repair_is_no_sign_of_a_sick_network() -> None:
    healths = {"bj": DEAD, "sh": DEAD, "hk": WELL}

    decided = decide(healths, {"bj": out(OPERATOR)}, Wishes(relays={"bj": "out"}), TIMING, NOW)

    assert set(decided) == {"bj", "sh"}


def test_the_last_one_stays_whatever_an_operator_says() -> None:
    healths = {"bj": DEAD, "sh": WELL}
    wishes = Wishes(relays={"sh": "out"})

    assert set(decide(healths, {"bj": out()}, wishes, TIMING, NOW)) == {"bj"}, "nothing swaps"


def test_what_an_operator_let_go_of_waits_for_its_probes() -> None:
    before = {"sh": out(OPERATOR)}

    decided = decide(four(sh=DEAD), before, Wishes(), TIMING, NOW)

    assert decided["sh"].since == BEFORE
    assert "let go" in decided["sh"].why
    assert decide(four(), before, Wishes(), TIMING, NOW) == {}


def test_a_relay_that_is_no_longer_there_is_forgotten() -> None:
    assert decide(four(), {"fra": out()}, Wishes(relays={"fra": "out"}), TIMING, NOW) == {}


SECONDS = st.floats(min_value=0, max_value=1000)
HEALTHS = st.dictionaries(
    st.sampled_from([*RELAYS, "fra"]),
    st.one_of(
        st.just(UNKNOWN),
        st.builds(Health, failing=SECONDS, faults=st.just(("DERP",))),
        st.builds(Health, passing=SECONDS),
    ),
    min_size=1,
)
BEFORES = st.dictionaries(
    st.sampled_from(RELAYS),
    st.builds(Out, since=st.sampled_from([BEFORE, "2026-01-01T12:00:00Z"]), why=st.just("x")),
)
EVERY_WISH = st.builds(
    Wishes,
    relays=st.dictionaries(st.sampled_from(RELAYS), st.sampled_from(WISHES)),
    limit=st.integers(0, 5),
)
given = hypothesis.given(healths=HEALTHS, before=BEFORES, wishes=EVERY_WISH)


@given
def test_at_least_one_relay_is_always_in_the_map(
    healths: dict[str, Health], before: dict[str, Out], wishes: Wishes
) -> None:
    decided = decide(healths, before, wishes, TIMING, NOW)

    assert healths.keys() - decided.keys()
    assert decided.keys() <= healths.keys()


@given
def test_never_more_than_the_limit_are_out_by_themselves(
    healths: dict[str, Health], before: dict[str, Out], wishes: Wishes
) -> None:
    decided = decide(healths, before, wishes, TIMING, NOW)

    assert sum(wishes.of(relay) != "out" for relay in decided) <= wishes.limit


@given
def test_an_operator_is_obeyed_up_to_the_last_relay(
    healths: dict[str, Health], before: dict[str, Out], wishes: Wishes
) -> None:
    decided = decide(healths, before, wishes, TIMING, NOW)

    assert not [relay for relay in decided if wishes.of(relay) == "in"]
    refused = [r for r in healths if wishes.of(r) == "out" and r not in decided]
    assert not refused or len(decided) == len(healths) - 1


@given
def test_by_itself_a_relay_leaves_only_on_evidence_against_it_alone(
    healths: dict[str, Health], before: dict[str, Out], wishes: Wishes
) -> None:
    decided = decide(healths, before, wishes, TIMING, NOW)

    for relay in decided.keys() - before.keys():
        if wishes.of(relay) == "auto":
            assert (healths[relay].failing or 0) >= TIMING.away_after
            assert not sick(healths, wishes)


@given
def test_who_has_passed_for_long_enough_is_back(
    healths: dict[str, Health], before: dict[str, Out], wishes: Wishes
) -> None:
    decided = decide(healths, before, wishes, TIMING, NOW)

    well = [r for r, h in healths.items() if (h.passing or 0) >= TIMING.back_after]
    assert not [relay for relay in well if relay in decided and wishes.of(relay) == "auto"]


@given
def test_a_decision_stands_while_nothing_changes(
    healths: dict[str, Health], before: dict[str, Out], wishes: Wishes
) -> None:
    decided = decide(healths, before, wishes, TIMING, NOW)

    assert decide(healths, decided, wishes, TIMING, "2026-01-03T00:00:00Z") == decided
