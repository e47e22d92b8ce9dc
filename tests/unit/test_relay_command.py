"""Covers what an operator sees, may say, and is refused; and what etcd may hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guard.etcd import Entry, Etcd
from relays import command, probes, report
from relays.command import CommandError
from relays.config import Config
from relays.decision import Health, Out, Wishes
from relays.store import Store, StoreError

RELAYS = {"bj": "Beijing", "sh": "Shanghai", "hk": "Hong Kong"}
NOW = 1795484661.0


class FakeEtcd(Etcd):
    """A memory of texts."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def read(self, key: str) -> Entry | None:
        return Entry(self.values[key], 0) if key in self.values else None

    def put(self, key: str, value: str, lease: int) -> None:
        assert lease == 0, "it must outlive every process"
        self.values[key] = value


@pytest.fixture
def etcd() -> FakeEtcd:
    return FakeEtcd()


@pytest.fixture
def store(etcd: FakeEtcd) -> Store:
    return Store(etcd)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return Config(
        relays=RELAYS,
        metrics="",
        endpoints=[],
        prefix="",
        ca="",
        certificate="",
        key="/etc/mesh/tls/etcd.key",
        folder=str(tmp_path),
        each=5,
        away_after=180,
        back_after=60,
    )


def watched(settings: Config, **changes: object) -> None:
    """The watcher told that sh is out."""
    runs = {
        f"{relay}/{kind}": probes.Run(
            relay=relay, kind=kind, passed=relay != "sh", first=NOW - 200, last=NOW - 5
        )
        for relay in RELAYS
        for kind in ("derp_mesh", "derp_udp", "tls")
    }
    out = {"sh": Out(since="2026-11-24T01:40:00Z", why="DERP failed for 181 s")}
    healths = {relay: Health() for relay in RELAYS} | {"sh": Health(failing=195)}
    wishes = Wishes(relays={"hk": "in"})
    told = report.status(RELAYS, runs, healths, out, wishes, "", NOW) | changes
    report.tell(settings, told)


def test_the_table_tells_where_each_relay_is_and_why(
    settings: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched(settings)
    monkeypatch.setattr("time.time", lambda: NOW + 1)

    assert command.run([], settings, store).splitlines() == [
        "relay  region     map  since                 override"
        "  probes                                                       why",
        "bj     Beijing    in   -                     auto      DERP ok, STUN ok, certificate ok",
        "sh     Shanghai   OUT  2026-11-24T01:40:00Z  auto    "
        "  DERP FAILS 195 s, STUN FAILS 195 s, certificate FAILS 195 s  DERP failed for 181 s",
        "hk     Hong Kong  in   -                     in        DERP ok, STUN ok, certificate ok",
        "at most 1 out by themselves",
    ]


def test_all_that_is_known_is_there_as_json(settings: Config, store: Store) -> None:
    watched(settings)

    told = json.loads(command.run(["--json"], settings, store))

    assert [relay["in_map"] for relay in told["relays"]] == [True, False, True]


def test_the_table_says_when_the_watcher_is_silent_or_cannot_decide(
    settings: Config, store: Store
) -> None:
    watched(settings, trouble="nobody answers", own_network_sick=True)

    *_, sick, trouble, old = command.run([], settings, store).splitlines()

    assert "a fault on this side" in sick
    assert trouble == "no decision: nobody answers"
    assert old.startswith("OLD: mesh-relay-watch has told nothing for ")


def test_before_the_watcher_told_anything_that_is_said(settings: Config, store: Store) -> None:
    with pytest.raises(CommandError, match="mesh-relay-watch has told nothing yet"):
        command.run([], settings, store)


def test_metrics_are_what_prometheus_reads(settings: Config) -> None:
    watched(settings)

    lines = (Path(settings.folder) / "relays.prom").read_text().splitlines()

    assert [line for line in lines if not line.startswith("#")] == [
        'mesh_relay_in_map{relay="bj"} 1',
        'mesh_relay_in_map{relay="sh"} 0',
        'mesh_relay_in_map{relay="hk"} 1',
        'mesh_relay_failing_seconds{relay="bj"} 0',
        'mesh_relay_failing_seconds{relay="sh"} 195',
        'mesh_relay_failing_seconds{relay="hk"} 0',
    ]


def test_wishes_add_up_and_auto_forgets(settings: Config, store: Store) -> None:
    for words in ("set sh out", "limit 2", "set hk in", "set sh auto"):
        command.run(words.split(), settings, store)

    assert store.wishes() == Wishes(relays={"hk": "in"}, limit=2)


def test_the_last_relay_in_the_map_cannot_be_taken_out(settings: Config, store: Store) -> None:
    store.publish({"bj": Out(since="", why="")}, "")
    command.run(["set", "hk", "out"], settings, store)

    with pytest.raises(CommandError, match="sh is the last relay in the map"):
        command.run(["set", "sh", "out"], settings, store)

    assert store.wishes() == Wishes(relays={"hk": "out"})


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("set fra out", "choose from 'bj', 'sh', 'hk'"),
        ("set sh away", "choose from 'in', 'out', 'auto'"),
        ("limit 3", "choose from 0, 1, 2"),
        ("limit many", "invalid int value: 'many'"),
        ("show", "choose from 'set', 'limit'"),
    ],
)
def test_an_error_names_what_is_allowed(
    settings: Config, store: Store, capsys: pytest.CaptureFixture[str], words: str, allowed: str
) -> None:
    with pytest.raises(SystemExit):
        command.run(words.split(), settings, store)

    assert allowed in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("out", "not JSON"),
        ("[]", "must be an object"),
        ('{"relays": {"sh": "away"}}', "each must be one of in, out, auto"),
        ('{"relays": ["sh"]}', "each must be one of in, out, auto"),
        ('{"limit": -1}', "limit: -1: must be a number from 0"),
        ('{"limit": "2"}', "limit: '2': must be a number from 0"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_by_key(
    etcd: FakeEtcd, store: Store, value: str, message: str
) -> None:
    etcd.values["/mesh/relays/override"] = value

    with pytest.raises(StoreError, match="/mesh/relays/override: ") as refused:
        store.wishes()

    assert message in str(refused.value)


@pytest.mark.parametrize("value", ['{"out": ["sh"]}', '{"out": {"sh": {}}}', '{"out": {"sh": 1}}'])
def test_a_decision_that_makes_no_sense_is_refused(
    etcd: FakeEtcd, store: Store, value: str
) -> None:
    etcd.values["/mesh/relays/decision"] = value

    with pytest.raises(StoreError, match="/mesh/relays/decision"):
        store.decision()


def test_a_published_decision_is_read_back(store: Store) -> None:
    out = {"sh": Out(since="2026-11-24T01:40:00Z", why="DERP failed for 181 s")}

    store.publish(out, "2026-11-24T01:40:00Z")

    assert store.decision() == out


def test_nobody_has_decided_or_wished_anything_at_first(store: Store) -> None:
    assert store.decision() == {}
    assert store.wishes() == Wishes(relays={}, limit=1)
