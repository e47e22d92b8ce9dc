"""Covers keys that are handed out once, into a file, against the real Headscale and PostgreSQL."""

from __future__ import annotations

from tests.registry import plant as plants
from tests.registry.plant import Plant

FILED = [{"name": "console", "expiration_hours": 48, "rotate_before_hours": 8, "hand_out": "file"}]


def test_a_key_that_is_handed_out_once_is_in_no_output(plant: Plant) -> None:
    said = plant.apply(api_keys=FILED)

    plant.be("standby")

    assert said["api_keys"] == plant.apply(api_keys=FILED)["api_keys"] == {}
    assert set(said["keys"]) == {"web", "ann-device"}


def test_a_second_one_who_asks_is_told_who_has_the_key_and_how_to_make_another(
    plant: Plant,
) -> None:
    plant.apply(api_keys=FILED)
    first = plant.ask("keys", "show", "console", "--to", "ann@laptop")["key"]

    status, said, error = plant.run("keys", "show", "console", "--to", "bob@desk")

    assert (status, said) == (1, "")
    assert "key console was handed out at" in error and "to ann@laptop" in error
    assert "`meshctl keys rotate console --force`" in error
    assert first not in error


def test_the_list_says_who_has_a_key(plant: Plant) -> None:
    plant.apply(api_keys=FILED)
    (before,) = plant.ask("keys", "list")["api_keys"]

    plant.ask("keys", "show", "console", "--to", "ann@laptop")

    (after,) = plant.ask("keys", "list")["api_keys"]
    assert (before["hand_out"], before["handed"]) == ("file", None)
    assert after["handed"]["to"] == "ann@laptop"


def test_a_rotated_key_is_handed_out_once_more_and_is_another(plant: Plant) -> None:
    plant.apply(api_keys=FILED)
    first = plant.ask("keys", "show", "console", "--to", "ann@laptop")["key"]

    plant.ask("keys", "rotate", "console", "--force")

    assert plant.ask("keys", "show", "console", "--to", "bob@desk")["key"] != first
    assert plant.run("keys", "show", "console", "--to", "bob@desk")[0] == 1


def test_a_key_that_goes_into_a_file_is_not_used_up_by_one_who_keeps_none(plant: Plant) -> None:
    plant.apply(api_keys=FILED)

    status, said, error = plant.run("keys", "show", "console")

    assert (status, said) == (1, "")
    assert "into a file only: `meshctl keys show console --file PATH`" in error
    assert plant.ask("keys", "show", "console", "--to", "ann@laptop")["key"]


def test_a_key_of_the_outputs_is_shown_as_often_as_somebody_asks(plant: Plant) -> None:
    said = plant.apply()["keys"]["web"]

    assert plant.ask("keys", "show", "web", "--to", "ann@laptop")["key"] == said
    assert plant.ask("keys", "show", "web")["key"] == said


def test_a_key_that_the_outputs_have_had_is_made_anew_when_only_one_shall_know_it(
    plant: Plant,
) -> None:
    known = plant.apply()["api_keys"]["console"]

    plant.apply(api_keys=FILED)

    assert plant.ask("keys", "show", "console", "--to", "ann@laptop")["key"] != known
    assert len(plant.told("apikeys", "list")) == 2, "the older one works until its own end"


def test_a_declaration_that_says_how_keys_are_handed_out_keeps_those_of_before(
    plant: Plant,
) -> None:
    first = plant.apply()
    keys = [
        plants.key("web", tags=["tag:web"], reusable=True),
        plants.key("ann-device", user="ann"),
    ]

    again = plant.apply(keys=[{**spec, "hand_out": "output"} for spec in keys])

    assert again["keys"] == first["keys"]
