"""`meshctl load` as an operator calls it: real SSH, a real Headscale, real virtual nodes.

The host runs what it is asked for on this machine, without sudo. What meshctl refuses before it
asks any host: tests/unit/test_meshctl_load.py.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.load.plain import Plain
from meshctl import stack
from meshctl.load import server, stage
from meshctl.load.plan import MARK
from meshctl.load.stage import Order
from meshctl.load.trial import Row
from meshctl.ssh import Session
from tests import ssh_hosts
from tests.ssh_hosts import Fleet, Said
from tests.unit import meshctl_mesh
from tests.unit.meshctl_mesh import Operator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet(headscale: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A mesh whose active control host is this machine with that server."""
    command = tmp_path / "bin" / "headscale"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.join(headscale.line())} "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"

    def run(line: str, stdin: str) -> Said:
        words = shlex.split(line)
        assert words[0] == "sudo"
        environment = {**os.environ, "PATH": path}
        done = subprocess.run(
            words[1:], input=stdin, env=environment, text=True, capture_output=True, check=False
        )
        return Said(done.stdout, done.returncode, done.stderr)

    monkeypatch.setenv("SSL_CERT_FILE", headscale.trust)
    with ssh_hosts.fleet(tmp_path) as made:
        meshctl_mesh.make_well(made)
        made["hs-1"].otherwise = run
        made.tell(server_url=headscale.url, protect=False)
        yield made


def left(headscale: Plain) -> tuple[list[str], int, str]:
    """Virtual nodes, pre-auth keys and the policy that the server has."""
    keys = server.ask(headscale, "preauthkeys", "list") or []
    names = [name for name in server.nodes(headscale) if MARK in name]
    return names, len(keys), headscale.headscale("policy", "get")


def test_a_load_measures_every_phase_and_leaves_nothing_behind(
    headscale: Plain, fleet: Fleet, capfd: pytest.CaptureFixture[str]
) -> None:
    before = left(headscale)
    operator = Operator(fleet, ROOT, capfd)

    rows = operator.reads("load", "4", "--wave", "3", "--rest", "1", "--yes")

    phases = [row["phase"] for row in rows if row["phase"] != "quiet"]
    assert phases == ["wave 0", "wave 1", "policy", "newcomer", "rest"]
    assert [fault for row in rows for fault in row["faults"]] == []
    assert rows[1]["figures"]["nodes"] == 4
    assert left(headscale) == before


def test_a_load_that_is_stopped_leaves_nothing_behind_either(
    headscale: Plain, fleet: Fleet
) -> None:
    before = left(headscale)
    told: list[Row] = []

    async def stopped() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task

        def tell(row: Row) -> None:
            told.append(row)
            loop.call_soon_threadsafe(task.cancel)

        mesh = stack.load("staging", str(fleet.outputs), ROOT)
        async with Session(mesh) as session:
            await stage.run(session, Order(4, 3, 1, stage.program(ROOT)), tell)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())
    assert 1 <= len(told) < 5
    assert left(headscale) == before


def test_only_what_the_stack_knows_takes_part(headscale: Plain, fleet: Fleet) -> None:
    async def kinds() -> list[str]:
        mesh = stack.load("staging", str(fleet.outputs), ROOT)
        async with Session(mesh) as session:
            remote = stage.Remote(session, asyncio.get_running_loop())
            policy = {"tagOwners": {"tag:prod": ["zhangsan@"], "tag:web": ["zhangsan@"]}}
            return [k.name for k in await asyncio.to_thread(stage.possible, remote, policy)]

    known = {user["name"] for user in server.ask(headscale, "users", "list")}
    assert set(asyncio.run(kinds())) == {"prod-web"} | known
