"""A small mesh that is well, and meshctl as an operator calls it."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshctl import command
from meshctl.control import GUARD
from meshctl.facts import CERTIFICATE, MEMBERS, RELAYS, VOTERS
from tests.ssh_hosts import Fleet, Said, json_said


def guard(host: str, role: str, **changes: Any) -> Said:
    """What a control host says of its guard."""
    now = time.time()
    serves = role == "active"
    status = {"host": host, "role": role, "since": now - 3600, "holder": "hs-1", "reason": "",
              "database": True, "server_answers": serves, "server_pid": 4711 if serves else None,
              "at": now, **changes}  # fmt: skip
    return Said(f"{now:.0f}\n{json.dumps(status)}\n")


def members(primary: str = "pg-1", standby: str | None = "pg-2") -> Said:
    """What patronictl says."""
    rows = [{"Cluster": "mesh", "Member": primary, "Role": "Leader", "State": "running", "TL": 1}]
    if standby:
        rows.append({"Cluster": "mesh", "Member": standby, "Role": "Sync Standby",
                     "State": "streaming", "TL": 1,
                     "Receive LSN": "0/4000060", "Receive Lag": 0})  # fmt: skip
    return json_said(rows)


def voters(*ill: str) -> Said:
    """What etcdctl says; like the real one it fails when a voter is ill."""
    told = [{"endpoint": f"https://{name}:2379", "health": name not in ill, "took": "2ms"}
            for name in ("pg-1", "pg-2", "ops-1")]  # fmt: skip
    return json_said(told, status=1 if ill else 0)


def relays(*out: str) -> Said:
    """What the watcher of the relays says."""
    now = int(time.time())
    told = {"at_seconds": now - 2, "limit": 1, "own_network_sick": False, "trouble": "", "relays": [
        {"relay": code, "region": code.upper(), "in_map": code not in out,
         "since": "2026-11-24T01:40:00Z" if code in out else None,
         "why": "DERP failed for 181 s" if code in out else None, "override": "auto",
         "failing_seconds": 0.0,
         "probes": {"derp_mesh": {"passed": code not in out, "for_seconds": 195, "age_seconds": 1}}}
        for code in ("bj", "sh")]}  # fmt: skip
    return Said(f"{now}\n{json.dumps(told)}\n")


def certificate(days: float = 60) -> Said:
    """When a host's certificate ends."""
    now = int(time.time())
    ends = datetime.datetime.fromtimestamp(now + days * 86400, datetime.UTC)
    return Said(f"{now}\nnotAfter={ends:%Y-%m-%d %H:%M:%SZ}\n")


def make_well(fleet: Fleet) -> None:
    """hs-1 serves, pg-1 is the primary, everything else is where it should be."""
    for name, role in (("hs-1", "active"), ("hs-2", "standby")):
        fleet[name].answers[GUARD] = guard(name, role)
        fleet[name].answers[CERTIFICATE["control"]] = certificate()
    for name, days in (("derp-bj", 60), ("derp-sh", 3600)):
        fleet[name].answers[CERTIFICATE["relay"]] = certificate(days)
    for name in ("pg-1", "pg-2"):
        fleet[name].answers[MEMBERS] = members()
    for name in ("pg-1", "pg-2", "ops-1"):
        fleet[name].answers[VOTERS] = voters()
    fleet["ops-1"].answers[RELAYS] = relays()


@dataclass
class Operator:
    """Somebody at a terminal."""

    fleet: Fleet
    project: Path
    capture: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def runs(self, *words: str) -> int:
        """The exit status of meshctl; `out` and `err` are what it printed."""
        where = ["--outputs", str(self.fleet.outputs), "--project", str(self.project)]
        self.capture.readouterr()
        status = command.main([*where, *words])
        self.out, self.err = self.capture.readouterr()
        return status

    def reads(self, *words: str) -> Any:
        """The JSON that a command prints."""
        self.runs(*words, "--json")
        return json.loads(self.out)
