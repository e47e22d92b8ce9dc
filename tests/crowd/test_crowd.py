"""Covers the crowd itself with real clients and a real server on this machine: what the booted
lab's table rests on. The policy of policy/ is tried in test_policy_by_packets.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.crowd import Crowd, CrowdError, Try
from lab.world.command import until
from tests.crowd import loopback
from tests.crowd.loopback import Loopback

POLICY = {
    "tagOwners": {"tag:web": ["alice@"], "tag:db": ["alice@"]},
    "acls": [
        {"action": "accept", "src": ["alice@"], "dst": ["*:*"]},
        {"action": "accept", "src": ["bob@"], "dst": ["tag:web:80"]},
    ],
    "ssh": [{"action": "accept", "src": ["alice@"], "dst": ["tag:web"], "users": ["root"]}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with loopback.running(tmp_path_factory.mktemp("mesh")) as here:
        yield here


@pytest.fixture(scope="module")
def crowd(server: Loopback) -> Iterator[Crowd]:
    keys = {name: server.key(user=name) for name in ("alice", "bob")}
    keys |= {name: server.key(tags=f"tag:{name}") for name in ("web", "db")}
    server.set_policy(json.dumps(POLICY))
    with server.crowd() as crowd:
        joined = crowd.join(loopback.URL, keys)
        assert all(join.joined for join in joined.values()), joined
        until(lambda: _acquainted(crowd), within=30, what="peers", poll=0.2)
        yield crowd


def _acquainted(crowd: Crowd) -> bool:
    peers = {name: set(found["peers"].values()) for name, found in crowd.status().items()}
    return peers["alice"] == {"bob", "web", "db"} and "web" in peers["bob"]


def attempt(crowd: Crowd, source: str, target: str, port: int) -> Try:
    where = crowd.addresses()[target]
    if target in crowd.status()[source]["peers"].values():
        assert crowd.ping([(source, where)]) == [""]
    return crowd.connect([(source, where, port)])[0]


def test_an_allowed_connection_arrives_through_the_client_that_has_the_address(
    crowd: Crowd,
) -> None:
    found = attempt(crowd, "bob", "web", 80)

    assert (found.outcome, found.via, found.origin) == ("connected", "web", "bob")


def test_a_denied_connection_is_dropped_by_the_packet_filter_of_the_destination(
    crowd: Crowd,
) -> None:
    found = attempt(crowd, "bob", "web", 443)

    assert (found.outcome, found.said) == ("dropped", "no rules matched")


def test_a_node_that_no_rule_opens_is_not_even_known(crowd: Crowd) -> None:
    found = attempt(crowd, "bob", "db", 80)

    assert not found.seen
    assert found.outcome != "connected"


def test_an_allowed_port_without_a_service_is_refused_not_dropped(crowd: Crowd) -> None:
    found = attempt(crowd, "alice", "db", 81)

    assert found.outcome == "refused"


def test_an_allowed_datagram_is_answered_through_the_client_that_has_the_address(
    crowd: Crowd,
) -> None:
    where = crowd.addresses()["web"]
    assert crowd.ping([("bob", where)]) == [""]

    (found,) = crowd.send([("bob", where, 80)])

    assert (found.outcome, found.via, found.origin) == ("connected", "web", "bob"), found


def test_a_denied_datagram_is_dropped_by_the_packet_filter_of_the_destination(
    crowd: Crowd,
) -> None:
    where = crowd.addresses()["web"]
    assert crowd.ping([("bob", where)]) == [""]

    (found,) = crowd.send([("bob", where, 443)])

    assert (found.outcome, found.said) == ("dropped", "no rules matched"), found


def test_tailscale_ssh_lets_in_whom_the_policy_names_and_tells_others(crowd: Crowd) -> None:
    web = crowd.addresses()["web"]
    assert crowd.ping([("alice", web)]) == [""]
    crowd.allow_ssh(["web"], on=True)
    try:
        root, nobody = crowd.ssh([("alice", web, "root"), ("alice", web, "nobody")])
    finally:
        crowd.allow_ssh(["web"], on=False)

    assert root.got == "root"
    assert not nobody.got
    assert "policy does not permit" in nobody.said


def test_no_key_is_left_in_files_nor_shown_in_the_process_list(
    server: Loopback, crowd: Crowd
) -> None:
    kept = list((server.folder / "crowd").rglob("key"))
    shown = _processes()

    assert all(f"/{name} " in shown for name in crowd.names), "the search must see the clients"
    assert not kept
    assert "hskey-auth-" not in shown


def test_the_end_of_a_crowd_ends_its_clients(server: Loopback) -> None:
    folder = server.folder / "short"
    with Crowd(server, str(loopback.ROOT), str(folder), ports=()) as short:
        short.start(["carol"])
        assert _running(folder)

    assert not _running(folder)
    assert not folder.exists()


def test_a_request_about_an_unknown_client_says_so(crowd: Crowd) -> None:
    with pytest.raises(CrowdError, match="no client mallory was started"):
        crowd.connect([("mallory", "100.64.0.1", 80)])


def _running(folder: Path) -> bool:
    return f"--statedir={folder}/" in _processes()


def _processes() -> str:
    line = ["ps", "-eww", "-o", "args"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout
