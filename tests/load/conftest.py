"""A Headscale of its own, and ten virtual nodes on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills.load import plain
from drills.load.plain import Plain
from meshctl.load import server
from meshctl.load.tool import Tool
from meshctl.load.trial import Trial
from tests.load.ten import KINDS, MEMBERS, POLICY, WITHIN, Joined


@pytest.fixture(scope="module")
def headscale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """A server under the policy of this repository."""
    binary = plain.program("headscale")
    with Plain(tmp_path_factory.mktemp("headscale"), binary) as made:
        server.make_users(made, KINDS)
        server.set_policy(made, POLICY.read_text())
        yield made


@pytest.fixture(scope="module")
def joined(headscale: Plain) -> Iterator[Joined]:
    """Ten nodes that have joined, the first one alone."""
    line = [str(plain.program("mesh-load"))]
    with server.keys(headscale, KINDS) as keys, Tool(line, headscale.trust) as tool:
        trial = Trial(headscale, tool, keys, POLICY.read_text(), at_once=8, within=WITHIN)
        yield Joined(trial, MEMBERS, list(trial.join(MEMBERS, 5)))


@pytest.fixture
def trial(joined: Joined) -> Trial:
    """All of them are settled, by the policy."""
    joined.trial.expect()
    waited = joined.trial.tool.wait("settled", 0, WITHIN)
    assert not waited.lacking, waited.missing
    return joined.trial
