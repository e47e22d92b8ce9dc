"""Covers meshctl against the booted mesh, as an operator runs it: the program itself, in the
network of the operator's workstation, with the stack's outputs on standard input.

What each command makes of odd answers is in tests/unit/test_meshctl_*.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from drills import two_clients
from lab.world.command import Done, until
from tests import stacks
from tests.lab.mesh import Mesh

PROGRAM: Final = stacks.REPOSITORY / "scripts/meshctl"
HEALTHY_WITHIN: Final = 180.0  # s; another test may have taken a host's power
MAP_WITHIN: Final = 60.0  # s until a wish for a relay is seen in the watcher's words
FEW_ROWS: Final = 24  # lines of a terminal


@dataclass(frozen=True)
class Operator:
    """Somebody at the workstation with the stack's outputs. A command ends as `status` says."""

    mesh: Mesh

    def runs(self, *words: str, status: int = 0) -> Done:
        """What meshctl printed, and that it ended so."""
        done = self.tries(*words)
        assert done.status == status, f"meshctl {' '.join(words)}: {done.stderr}\n{done.stdout}"
        return done

    def tries(self, *words: str) -> Done:
        """How meshctl ended."""
        line = [str(PROGRAM), "--stack", two_clients.STACK, "--outputs", "-", *words]
        outputs = json.dumps(self.mesh.outputs)
        return self.mesh.world.operator.run(line, stdin=outputs, check=False, within=600)

    def reads(self, *words: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.runs(*words, "--json").stdout)

    @property
    def active(self) -> str:
        """The control host that serves, by its own word."""
        return two_clients.active_name(self.mesh.world, self.mesh.outputs)

    @contextmanager
    def same_policy_afterwards(self) -> Iterator[str]:
        """The text of the policy in force; it is so again at the end."""
        text = str(self.reads("policy", "show")["text"])
        try:
            yield text
        finally:
            if self.reads("policy", "show")["text"] != text:
                self.set_policy(text)

    def set_policy(self, text: str) -> None:
        """Behind the back of the registry, as somebody in a hurry does."""
        words = ["headscale", "policy", "set", "--file", "/dev/stdin"]
        self.mesh.host(self.active).exec(words, stdin=text)


@pytest.fixture
def operator(mesh: Mesh) -> Operator:
    """An operator of a mesh that is well."""
    made = Operator(mesh)
    until(
        lambda: made.tries("status").status == 0,
        within=HEALTHY_WITHIN,
        what="a healthy mesh",
        poll=1,
        seen=lambda: made.tries("status").stdout,
    )
    return made


# How the mesh is


def test_a_healthy_mesh_is_one_screen_that_names_who_is_active(operator: Operator) -> None:
    done = operator.runs("status")

    roles = dict(re.findall(r"^(hs-\d) +(\w+)", done.stdout, re.MULTILINE))
    assert done.stdout.startswith("healthy\n")
    assert roles == {
        name: "active" if name == operator.active else "standby" for name in ("hs-1", "hs-2")
    }
    assert "etcd:    3 of 3 voters healthy" in done.stdout
    assert "relays:  4 of 4 in the map" in done.stdout
    assert len(done.stdout.splitlines()) <= FEW_ROWS


def test_a_stopped_voter_is_exit_1_and_is_named(operator: Operator, mesh: Mesh) -> None:
    mesh.host("ops-1").exec(["systemctl", "stop", "etcd.service"])
    try:
        told = operator.tries("status")
    finally:
        mesh.host("ops-1").exec(["systemctl", "start", "etcd.service"])

    assert told.status == 1
    assert "etcd voter ops-1 not healthy" in told.stdout


def test_nodes_and_users_are_those_of_headscale(operator: Operator) -> None:
    nodes = {node["name"]: node for node in operator.reads("nodes")["nodes"]}
    users = {user["name"]: user for user in operator.reads("users")["users"]}

    assert {*nodes[two_clients.SERVER]["tags"]} == {"tag:prod", "tag:web"}
    assert nodes[two_clients.DEVICE]["user"] == "zhangsan"
    assert users["zhangsan"]["declared"]
    assert two_clients.DEVICE in users["zhangsan"]["nodes"]


@pytest.mark.parametrize("host", ["hs-2", "pg-1", "derp-hk"])
def test_a_command_runs_on_a_host_that_is_reached_directly_or_through_the_bastion(
    operator: Operator, mesh: Mesh, host: str
) -> None:
    done = operator.runs("ssh", host, "--", "hostname; exit 7", status=7)

    assert done.stdout == mesh.host(host).exec(["hostname"]).stdout


def test_a_host_that_shows_another_key_than_the_stack_pinned_is_asked_nothing(mesh: Mesh) -> None:
    hosts = mesh.outputs["hosts"]
    swapped = {
        "hs-1": {**hosts["hs-1"], "host_key": hosts["hs-2"]["host_key"]},
        "hs-2": {**hosts["hs-2"], "host_key": hosts["hs-1"]["host_key"]},
    }
    outputs = {**mesh.outputs, "hosts": {**hosts, **swapped}}
    deceived = Operator(replace(mesh, outputs=outputs))

    assert "another host key than the stack pinned" in deceived.runs("users", status=3).stderr
    assert deceived.tries("ssh", "hs-1", "--", "true").status == 255


# Keys


def test_a_dry_rotation_names_every_key_and_changes_none(operator: Operator) -> None:
    before = operator.reads("keys", "list")

    told = operator.reads("keys", "rotate", "--force", "--dry-run")

    assert {"prod-servers", "console"} <= {*told["rotated"]}
    assert operator.reads("keys", "list") == before


def test_a_key_goes_into_a_file_of_its_owner_and_is_printed_nowhere(
    operator: Operator, mesh: Mesh, tmp_path: Path
) -> None:
    file = tmp_path / "key"

    done = operator.runs("keys", "show", "prod-servers", "--file", str(file))

    key = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.fullmatch(r"hskey-auth-\S{20,}", key) is not None, "it looks like a pre-auth key"
    assert key not in done.stdout + done.stderr
    assert done.stderr.startswith("prod-servers expires 2")
    assert operator.runs("keys", "show", "prod-servers").stdout.strip() == key


# Tags and addresses


def test_a_plan_of_tags_and_an_apply_without_yes_name_a_change_and_make_none(
    operator: Operator, mesh: Mesh
) -> None:
    server = operator.reads("nodes", two_clients.SERVER)["nodes"][0]
    with _tagged(mesh, operator, server, "tag:prod"):
        planned = operator.reads("tag", "plan")
        applied = operator.runs("tag", "apply")

        (change,) = [c for c in planned["changes"] if c["node"] == two_clients.SERVER]
        assert (change["from"], change["to"]) == (["tag:prod"], ["tag:prod", "tag:web"])
        assert "nothing was changed; --yes does it" in applied.stderr
        assert operator.reads("nodes", two_clients.SERVER)["nodes"][0]["tags"] == ["tag:prod"]

        operator.runs("tag", "apply", "--yes")
        tagged = operator.reads("nodes", two_clients.SERVER)["nodes"][0]["tags"]
        assert {*tagged} == {*server["tags"]} == {"tag:prod", "tag:web"}


@contextmanager
def _tagged(mesh: Mesh, operator: Operator, node: dict[str, Any], tags: str) -> Iterator[None]:
    """The node has other tags until the end of the block."""

    def tag(wanted: str) -> None:
        words = ["nodes", "tag", "--identifier", str(node["id"]), "--tags", wanted]
        mesh.host(operator.active).exec(["headscale", *words])

    tag(tags)
    try:
        yield
    finally:
        tag(",".join(node["tags"]))


def test_a_plan_of_addresses_is_shown_and_moves_nobody(operator: Operator) -> None:
    before = operator.reads("nodes")["nodes"]

    told = operator.reads("addresses", "plan")
    applied = operator.runs("addresses", "apply")

    ends = {move["node"]: move["to"] for move in told["moves"]}
    places = {node["name"]: ends.get(node["name"], node["ipv4"]) for node in before}
    assert places[two_clients.SERVER].startswith("100.65.1."), "the range of tag:web in production"
    assert places[two_clients.DEVICE].startswith("100.70.1."), "the range of ops-admin"
    assert "nothing was changed; --yes does it" in applied.stderr
    assert _addresses(operator.reads("nodes")["nodes"]) == _addresses(before)


def _addresses(nodes: list[dict[str, Any]]) -> dict[str, str]:
    return {node["name"]: node["ipv4"] for node in nodes}


# Relays


def test_a_relay_is_taken_out_and_left_to_the_probes_again(operator: Operator) -> None:
    assert "hk: out." in operator.runs("derp", "set", "hk", "out").stdout
    try:
        _await_relay(operator, in_map=False, override="out")
        shown = operator.runs("derp", "show").stdout
        assert re.search(r"^hk .* OUT .* out ", shown, re.MULTILINE), shown
    finally:
        operator.runs("derp", "set", "hk", "auto")

    _await_relay(operator, in_map=True, override="auto")


def _await_relay(operator: Operator, *, in_map: bool, override: str) -> None:
    def told() -> tuple[bool, str]:
        relays = {one["relay"]: one for one in operator.reads("derp", "show")["relays"]}
        return relays["hk"]["in_map"], relays["hk"]["override"]

    until(
        lambda: told() == (in_map, override),
        within=MAP_WITHIN,
        what="the relay as it was wished",
        poll=0.5,
        seen=lambda: str(told()),
    )


# The policy


def test_the_policy_of_the_files_is_without_faults_and_is_the_live_one(operator: Operator) -> None:
    assert "nothing wrong" in operator.runs("policy", "check").stdout
    assert operator.runs("policy", "report", "--live").stdout == "the live server has the same\n"


def test_one_command_brings_the_policy_before_back_to_the_letter(operator: Operator) -> None:
    with operator.same_policy_afterwards() as good:
        operator.set_policy(good.rstrip("\n") + "\n// in a hurry\n")
        assert operator.reads("policy", "show")["text"] != good

        done = operator.runs("policy", "rollback", "--yes")

        assert operator.reads("policy", "show")["text"] == good
        assert re.match(r"version \d+ is set, in place of", done.stdout)
        notes = [one["note"] for one in operator.reads("policy", "history")["versions"]]
        assert notes[0].startswith("back to ")
        assert "found on the server" in notes, "the other one can be had back, too"


def test_a_rollback_without_yes_is_not_done_when_nobody_can_be_asked(operator: Operator) -> None:
    before = operator.reads("policy", "history")

    done = operator.runs("policy", "rollback", status=3)

    assert "give --yes" in done.stderr
    assert operator.reads("policy", "history") == before


# Hand-overs and drills


def test_a_failover_moves_the_active_role_and_another_moves_it_back(operator: Operator) -> None:
    old = operator.active
    new = "hs-2" if old == "hs-1" else "hs-1"
    try:
        done = operator.runs("failover", "--yes")
        assert done.stdout.startswith(f"{new} has taken over from {old} within ")
        assert operator.active == new
    finally:
        if operator.active != old:
            operator.runs("failover", "--yes")

    assert operator.active == old
    assert operator.runs("status").stdout.startswith("healthy\n")


def test_a_switchover_makes_the_standby_the_primary_and_another_undoes_it(
    operator: Operator,
) -> None:
    there = operator.reads("switchover", "--yes")
    back = operator.reads("switchover", "--yes")

    assert (there["from"], there["to"]) == (back["to"], back["from"])
    assert {there["from"], there["to"]} == {"pg-1", "pg-2"}


@pytest.mark.parametrize(
    "fault", ["server-killed", "server-frozen", "guard-frozen", "voter-killed"]
)
def test_a_drill_ends_whole_with_every_acknowledged_write_and_a_dated_report(
    operator: Operator, mesh: Mesh, tmp_path: Path, fault: str
) -> None:
    before = {user["name"] for user in operator.reads("users")["users"]}

    done = operator.tries("drill", fault, "--yes", "--report", str(tmp_path), "--json")

    assert done.status in (0, 1), done.stderr
    record = json.loads(done.stdout)
    assert record["acknowledged"] > 0
    assert record["lost"] == []
    assert (done.status == 0) == (record["gap_s"] <= record["budget_s"])
    assert json.loads((tmp_path / f"drills-{two_clients.STACK}.json").read_text()) == [record]
    assert record["at"] in (tmp_path / f"drills-{two_clients.STACK}.md").read_text()
    assert {user["name"] for user in operator.reads("users")["users"]} == before
    assert operator.runs("status").stdout.startswith("healthy\n")
