"""Covers `mesh-registry addresses` against the real Headscale and a guard's door that is real: only
the guard's decision to be active is played.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from guard.hold import Door
from tests.guard import database
from tests.registry.plant import Plant

RANGES = [
    {"name": "ops", "cidr": "100.70.0.0/16", "users": ["ann"]},
    {"name": "others", "cidr": "100.71.0.0/24", "groups": ["group:others"]},
]


@pytest.fixture
def placed(plant: Plant) -> Iterator[Plant]:
    """A plan of addresses, and a guard that stops and starts Headscale."""
    empty: dict[str, Any] = {"tags": [], "groups": [], "users": [], "fixed": {}}
    password = plant.folder / "headscale.password"
    password.write_text(database.PASSWORD)
    login = f"host=127.0.0.1 port={plant.store.port} dbname=headscale user=headscale_hs_1"
    config = {
        "ranges": [{**empty, **entry} for entry in RANGES],
        "names": ["[a-z]+-[0-9]{3}"],
        "hold_socket": str(plant.folder / "hold.sock"),
        "database": login,
        "password_file": str(password),
    }
    plant.place.addresses.write_text(json.dumps(config))
    plant.apply(groups={"group:others": ["bob"]})
    guard = Guard(plant)
    yield plant
    guard.stop()


class Guard:
    """Does what the active guard does for a hold."""

    def __init__(self, plant: Plant) -> None:
        self._plant, self._over = plant, threading.Event()
        self._door = Door(plant.folder / "hold.sock")
        self._door.start()
        self._door.open()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._door.stop()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            hold = self._door.asked
            if hold:
                self._plant.end()
                hold.begin()
                while hold.wanted and not self._over.wait(0.05):
                    pass
                self._plant.start()


def addresses(plant: Plant) -> dict[str, str]:
    return {node["name"]: node["ipv4"] for node in plant.ask("nodes")["nodes"]}


def test_a_plan_moves_nobody(placed: Plant) -> None:
    placed.add_node("ann", "laptop-001")
    before = addresses(placed)

    planned = placed.ask("addresses", "plan")

    assert [move["to"] for move in planned["moves"]] == ["100.70.0.1"]
    assert addresses(placed) == before


def test_everybody_gets_an_address_of_the_range_that_claims_it(placed: Plant) -> None:
    placed.add_node("ann", "laptop-001")
    placed.add_node("bob", "laptop-002")

    said = placed.ask("addresses", "apply")

    assert addresses(placed) == {"laptop-001": "100.70.0.1", "laptop-002": "100.71.0.1"}
    assert said["moved"] == 2
    assert placed.ask("addresses", "plan")["moves"] == []


def test_a_node_keeps_its_address_when_its_row_is_written_afterwards(placed: Plant) -> None:
    placed.add_node("ann", "laptop-001")
    placed.ask("addresses", "apply")

    placed.tell("nodes", "rename", "--identifier", "1", "desk-001")

    assert addresses(placed) == {"desk-001": "100.70.0.1"}


def test_an_undo_puts_every_address_back(placed: Plant) -> None:
    for number in range(3):
        placed.add_node("ann", f"laptop-00{number}")
    before = addresses(placed)
    placed.ask("addresses", "apply")

    said = placed.ask("addresses", "undo")

    assert addresses(placed) == before
    assert said["moved"] == 3


def test_names_that_follow_no_rule_are_told(placed: Plant) -> None:
    placed.add_node("ann", "anns-thing")

    strays = placed.ask("addresses", "plan")["strays"]

    assert strays == [{"node": "anns-thing", "why": "its name follows no rule"}]


def test_nothing_is_changed_when_the_guard_does_not_hold(placed: Plant) -> None:
    placed.add_node("ann", "laptop-001")
    before = addresses(placed)
    config = json.loads(placed.place.addresses.read_text())
    placed.place.addresses.write_text(json.dumps({**config, "hold_socket": "/nowhere"}))

    status, _, error = placed.run("addresses", "apply")

    assert status == 1
    assert "ask the guard to hold" in error
    assert addresses(placed) == before


def test_nothing_is_changed_when_the_fence_has_closed_the_login(placed: Plant) -> None:
    placed.add_node("ann", "laptop-001")
    before = addresses(placed)
    config = json.loads(placed.place.addresses.read_text())
    login = config["database"].replace("hs_1", "hs_2")
    placed.place.addresses.write_text(json.dumps({**config, "database": login}))
    placed.store.run("ALTER ROLE headscale_hs_2 NOLOGIN")

    status, _, error = placed.run("addresses", "apply")

    placed.store.run("ALTER ROLE headscale_hs_2 LOGIN")
    assert status == 1
    assert "nothing was changed" in error
    assert addresses(placed) == before


def test_an_unknown_change_is_refused(placed: Plant) -> None:
    status, _, error = placed.run("addresses", "undo", "20200101T000000Z")

    assert status == 1
    assert "there is no change of addresses 20200101T000000Z; known: none" in error
