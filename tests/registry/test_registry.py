"""Covers mesh-registry against the real Headscale on a real PostgreSQL: what `apply` does, what a
second one leaves alone, and the operator's commands for policy, keys, users and tags.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from registry import apply
from tests.registry import plant as plants
from tests.registry.plant import Plant

OTHER_POLICY = plants.POLICY.replace("tag:web:80", "tag:web:443")


def live_keys(plant: Plant) -> set[int]:
    """The ids of the pre-auth keys with which one could join by their date."""
    now = plant.store.connect("postgres")
    with now.cursor() as cursor:
        cursor.execute("SELECT id FROM public.pre_auth_keys WHERE expiration > now()")
        found = {row[0] for row in cursor.fetchall()}
    now.close()
    return found


def age(plant: Plant, hours_left: int) -> None:
    """Every key ends in so many hours."""
    plant.store.run(
        f"UPDATE public.pre_auth_keys SET expiration = now() + interval '{hours_left} hours';"
        f"UPDATE public.api_keys SET expiration = now() + interval '{hours_left} hours'"
    )


def states(plant: Plant) -> dict[str, Any]:
    said = plant.ask("keys", "list")
    return {entry["name"]: entry["state"] for entry in said["keys"] + said["api_keys"]}


def test_apply_makes_users_policy_and_keys(plant: Plant) -> None:
    said = plant.apply()

    assert {user["name"] for user in plant.told("users", "list")} == {"ann", "bob"}
    assert plant.ask("policy", "show")["text"].strip() == plants.POLICY.strip()
    assert set(said["keys"]) == {"web", "ann-device"}
    assert said["api_keys"]["console"].startswith("hskey-api-")


def test_a_second_apply_changes_nothing(plant: Plant) -> None:
    first = plant.apply()

    again = plant.apply()

    assert again == first
    assert len(plant.told("preauthkeys", "list")) == 2


def test_a_declaration_that_changed_elsewhere_keeps_the_keys(plant: Plant) -> None:
    first = plant.apply()

    again = plant.apply(week="2026-W02")

    assert again == first


def test_a_host_that_is_not_active_says_what_the_active_one_made(plant: Plant) -> None:
    first = plant.apply()

    plant.be("standby")

    assert plant.apply() == first


def test_two_applies_at_once_make_each_key_once(plant: Plant) -> None:
    said: list[dict[str, Any]] = []
    text = plant.declaration()
    threads = [
        threading.Thread(target=lambda: said.append(apply.run(plant.place, text))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert said[0] == said[1]
    assert len(plant.told("preauthkeys", "list")) == 2


def test_a_command_where_headscale_does_not_run_names_the_host_where_it_does(plant: Plant) -> None:
    plant.be("standby")

    status, said, _ = plant.run("users")

    assert (status, json.loads(said)) == (3, {"active": "hs-2"})


# Users


def test_a_user_that_is_no_longer_declared_goes(plant: Plant) -> None:
    plant.apply()

    plant.apply(users=[{"name": "ann", "display": ""}])

    assert {user["name"] for user in plant.told("users", "list")} == {"ann"}


def test_a_user_that_still_owns_nodes_is_refused_with_their_names(plant: Plant) -> None:
    plant.apply()
    plant.add_node("bob", "bobs-laptop")

    status, _, error = plant.run("apply", stdin=plant.declaration(users=[{"name": "ann"}]))

    assert status == 1
    assert "user bob still owns bobs-laptop" in error
    assert {user["name"] for user in plant.told("users", "list")} == {"ann", "bob"}


def test_a_user_that_was_never_declared_stays(plant: Plant) -> None:
    plant.told("users", "create", "guest")

    plant.apply()

    listed = plant.ask("users")["users"]
    assert {user["name"]: user["declared"] for user in listed} == {
        "ann": True,
        "bob": True,
        "guest": False,
    }


# Policy


def test_a_refused_policy_changes_nothing_and_says_why(plant: Plant) -> None:
    plant.apply()
    wrong = plants.POLICY.replace("tag:web:80", "tag:nowhere:80")

    status, _, error = plant.run("apply", stdin=plant.declaration(policy=wrong))

    assert status == 1
    assert "tag:nowhere" in error
    assert plant.ask("policy", "show")["text"].strip() == plants.POLICY.strip()


def test_a_rollback_restores_the_earlier_text(plant: Plant) -> None:
    plant.apply()
    plant.apply(policy=OTHER_POLICY)

    said = plant.ask("policy", "rollback")

    assert said == {"version": 1, "from": 2}
    assert plant.ask("policy", "show")["text"].strip() == plants.POLICY.strip()


def test_a_second_rollback_goes_forward_again(plant: Plant) -> None:
    plant.apply()
    plant.apply(policy=OTHER_POLICY)
    plant.ask("policy", "rollback")

    plant.ask("policy", "rollback")

    assert plant.ask("policy", "show")["text"].strip() == OTHER_POLICY.strip()


def test_a_policy_that_somebody_set_by_hand_can_be_had_back(plant: Plant) -> None:
    plant.apply()
    by_hand = plant.folder / "by-hand.hujson"
    by_hand.write_text(OTHER_POLICY)
    plant.tell("policy", "set", "--file", str(by_hand))

    plant.apply(week="2026-W02")
    plant.ask("policy", "rollback", "2")

    assert plant.ask("policy", "show")["text"].strip() == OTHER_POLICY.strip()
    notes = [version["note"] for version in plant.ask("policy", "history")["versions"]]
    assert "found on the server" in notes


# Keys


def test_no_command_but_show_tells_a_key(plant: Plant) -> None:
    said = plant.apply()
    secret = [*said["keys"].values(), *said["api_keys"].values()]

    told = "".join("".join(plant.run("keys", *words)[1:]) for words in (["list"], ["rotate"]))

    assert not [key for key in secret if key in told]
    assert plant.ask("keys", "show", "web")["key"] == said["keys"]["web"]
    assert not [key for key in secret if key in (plant.folder / "log").read_text()]


def test_a_key_that_is_not_due_is_kept(plant: Plant) -> None:
    plant.apply()

    assert plant.ask("keys", "rotate")["rotated"] == []


def test_a_rotated_key_stays_valid_until_its_own_end(plant: Plant) -> None:
    before = plant.apply()["keys"]["web"]
    first = live_keys(plant)
    age(plant, hours_left=7)

    said = plant.ask("keys", "rotate")

    assert said["rotated"] == ["ann-device", "web", "console"]
    assert live_keys(plant) > first
    assert plant.ask("keys", "show", "web")["key"] != before


def test_apply_in_another_week_replaces_what_is_due(plant: Plant) -> None:
    before = plant.apply()
    age(plant, hours_left=7)

    after = plant.apply(week="2026-W02")

    assert after["keys"]["web"] != before["keys"]["web"]
    assert after["api_keys"]["console"] != before["api_keys"]["console"]


def test_a_dry_run_tells_and_changes_nothing(plant: Plant) -> None:
    plant.apply()
    first = live_keys(plant)

    said = plant.ask("keys", "rotate", "web", "--force", "--dry-run")

    assert said["rotated"] == ["web"]
    assert live_keys(plant) == first


def test_other_terms_end_the_earlier_key_at_once(plant: Plant) -> None:
    plant.apply()
    first = live_keys(plant)
    narrower = [plants.key("web", tags=["tag:web"]), plants.key("ann-device", user="ann")]

    plant.apply(keys=narrower)

    assert len(live_keys(plant)) == 2
    assert live_keys(plant) != first


def test_a_key_that_is_no_longer_declared_is_ended(plant: Plant) -> None:
    plant.apply()

    plant.apply(keys=[plants.key("web", tags=["tag:web"], reusable=True)])

    assert len(live_keys(plant)) == 1
    assert set(states(plant)) == {"web", "console"}


def test_a_key_that_nobody_declared_is_refused_with_those_that_are(plant: Plant) -> None:
    plant.apply()

    status, _, error = plant.run("keys", "rotate", "wep")

    assert status == 1
    assert "there is no key 'wep'; choose from ann-device, console, web" in error


def test_an_ephemeral_key_is_made_as_one(plant: Plant) -> None:
    passing = plants.key("runner", tags=["tag:web"], reusable=True, ephemeral=True)
    lasting = plants.key("web", tags=["tag:web"], reusable=True)

    plant.apply(keys=[passing, lasting])

    made = {key["id"]: bool(key.get("ephemeral")) for key in plant.told("preauthkeys", "list")}
    named = {entry["name"]: made[entry["id"]] for entry in plant.ask("keys", "list")["keys"]}
    assert named == {"runner": True, "web": False}


# Tags


WEB = json.dumps({"tags": [{"pattern": "prod-web-*", "tags": ["tag:web"]}]})
NOWHERE = json.dumps({"tags": [{"pattern": "*", "tags": ["tag:nowhere"]}]})


def tags(plant: Plant) -> list[str]:
    """Of the only node."""
    found: list[str] = plant.ask("nodes")["nodes"][0]["tags"]
    return found


def test_a_node_of_a_user_gets_tags_only_when_that_is_asked_for(plant: Plant) -> None:
    plant.apply()
    plant.add_node("ann", "prod-web-bj-001")

    left_alone = plant.ask("tags", "apply", stdin=WEB)

    assert (left_alone["changes"], left_alone["untagged"]) == ([], ["prod-web-bj-001"])
    assert tags(plant) == []


def test_a_plan_of_tags_changes_nothing(plant: Plant) -> None:
    plant.apply()
    plant.add_node("ann", "prod-web-bj-001")

    planned = plant.ask("tags", "plan", "--convert", stdin=WEB)

    assert planned["changes"] == [
        {"node": "prod-web-bj-001", "id": 1, "from": [], "to": ["tag:web"]}
    ]
    assert tags(plant) == []


def test_tags_follow_the_patterns(plant: Plant) -> None:
    plant.apply()
    plant.add_node("ann", "prod-web-bj-001")

    plant.ask("tags", "apply", "--convert", stdin=WEB)

    assert tags(plant) == ["tag:web"]
    assert plant.ask("tags", "plan", stdin=WEB)["changes"] == []


def test_a_tag_that_the_policy_does_not_know_is_refused(plant: Plant) -> None:
    plant.apply()
    plant.add_node("ann", "prod-web-bj-001")

    status, _, error = plant.run("tags", "apply", "--convert", stdin=NOWHERE)

    assert status == 1
    assert "tag prod-web-bj-001" in error
