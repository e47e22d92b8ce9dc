"""The ten virtual nodes of these tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meshctl.load import plan
from meshctl.load.plan import Member
from meshctl.load.trial import Row, Trial

POLICY = Path(__file__).parents[2] / "policy" / "policy.hujson"
WITHIN = 90.0  # s; a loaded machine is slow


MEMBERS = plan.members(10)
KINDS = list({member.kind.name: member.kind for member in MEMBERS}.values())


@dataclass(frozen=True)
class Joined:
    """A trial, and how its waves went."""

    trial: Trial
    members: list[Member]
    waves: list[Row]
