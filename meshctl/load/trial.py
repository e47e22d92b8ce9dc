"""The phases of a load: join in waves, a change of policy, a newcomer, kills, and a soak."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mesh import access, hujson
from meshctl.load import plan, server
from meshctl.load.plan import Member
from meshctl.load.server import Server
from meshctl.load.tool import Tool, Waited
from meshctl.load.usage import Usage, unknown

_MARK: Final = 60100  # first of the ports that a change of policy opens; nobody listens there
_QUIET: Final = 5.0  # s without any message but keep-alives


@dataclass(frozen=True)
class Row:
    """What one phase gave: figures, and the times they were made of (s, in order)."""

    phase: str
    figures: Mapping[str, float]
    raw: Mapping[str, Sequence[float]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass
class Trial:
    """One load on one server. Nodes that were there before count as peers too."""

    server: Server
    tool: Tool
    keys: Mapping[str, str]  # by kind
    policy: str  # as it is in force, in HuJSON
    at_once: int
    within: float  # s for each phase
    usage: Callable[[], Usage] = unknown  # of the server
    joined: list[Member] = field(default_factory=list)
    _changes: int = 0

    def __post_init__(self) -> None:
        self._model = access.Policy(hujson.parse(self.policy).value)

    # Phases

    def join(self, wanted: Sequence[Member], wave: int) -> Iterator[Row]:
        """Bring them in: the first alone, for its address may be one that rules name; then in
        waves, each of which settles before the next one comes.
        """
        self.tool.open(self.server.url)
        starts = [0, *range(1, len(wanted), wave)]
        for number, start in enumerate(starts):
            end = 1 if start == 0 else start + wave
            yield self._wave(f"wave {number}", wanted[start:end])

    def quiet(self) -> Row:
        """How long the server still had to tell things after the last phase."""
        since = time.monotonic()
        waited = self.tool.wait_quiet(since, _QUIET, self.within)
        return Row("quiet", {"quiet_s": waited.after[0], **_lacking(waited)})

    def policy_change(self) -> Row:
        """A rule comes that every node is told of, without a change of who sees whom."""
        self._changes += 1
        port = _MARK + self._changes
        value = json.loads(json.dumps(self._model.value))
        rule = {"action": "accept", "src": ["group:ops-admin"], "dst": [f"*:{port}"]}
        value["acls"].append(rule)
        self.tool.mark(f'"First":{port}')
        before, since = self.usage(), time.monotonic()
        server.set_policy(self.server, json.dumps(value))
        try:
            waited = self.tool.wait("marked", since, self.within)
        finally:
            server.set_policy(self.server, self.policy)
        figures = {"last_s": _last(waited), **_lacking(waited)}
        figures["server_cpu_s"] = self.usage().cpu_s - before.cpu_s
        return Row("policy", figures, {"marked": waited.after}, _faults("policy", waited))

    def newcomer(self, one: Member) -> Row:
        """One more node: until it and every other one is settled."""
        return self._wave("newcomer", [one])

    def kill(self, kill: Callable[[], float]) -> Row:
        """The server is killed, at the time that `kill` gives: until every node streams again, and
        is settled again.
        """
        messages = self.tool.report(0).counts["messages"]
        since = kill()
        streaming = self.tool.wait("streaming", since, self.within)
        settled = self.tool.wait("settled", since, self.within)
        report = self.tool.report(since)
        figures = {
            "first_s": streaming.after[0] if streaming.after else -1,
            "streaming_s": _last(streaming),
            "settled_s": _last(settled),
            "wrong_nodes": report.wrong_nodes,
            "drops": sum(report.drops_since.values()),
            "messages": report.counts["messages"] - messages,
            **_lacking(streaming),
            **{f"dropped: {why}": count for why, count in report.drops_since.items()},
        }
        raw = {"streaming": streaming.after, "settled": settled.after}
        return Row("kill", figures, raw, _faults("kill", streaming) + _faults("kill", settled))

    def replace(self, old: Member, new: Member) -> Row:
        """A node leaves for good and another one comes, as in a fleet that lives."""
        self.tool.end([old.name], logout=True)
        server.remove_nodes(self.server, [old.name])
        self.joined.remove(old)
        return self._wave("churn", [new])

    def rest(self, seconds: float) -> Row:
        """Nothing is done; which streams are dropped nevertheless, and what that costs."""
        before, since = self.usage(), time.monotonic()
        own = self.tool.report(0).cpu_s
        self.tool.wait_quiet(since, seconds, seconds)
        report, after = self.tool.report(since), self.usage()
        figures = {
            "seconds": time.monotonic() - since,
            "drops": sum(report.drops_since.values()),
            "wrong_nodes": report.wrong_nodes,
            "server_cpu_s": after.cpu_s - before.cpu_s,
            "tool_cpu_s": report.cpu_s - own,
            "rss_mib": after.rss_mib,
            "descriptors": after.descriptors,
        }
        faults = [f"dropped: {why} ({count})" for why, count in report.drops_since.items()]
        return Row("rest", figures, {}, tuple(faults))

    # Steps

    def expect(self) -> plan.Expected:
        """From now on, what the policy says of everybody who is there counts as right."""
        return self._expect(plan.planned(self.joined))

    def _wave(self, name: str, wanted: Sequence[Member]) -> Row:
        before, own = self.usage(), self.tool.report(0).cpu_s
        self._expect(plan.planned([*self.joined, *wanted]))
        nodes = {each.name: each.kind.name for each in wanted}
        wave = self.tool.join(self.keys, nodes, self.at_once, self.within)
        self.joined += [each for each in wanted if each.name in wave.after]
        registered = wave.ended - wave.began
        expected = self.expect()
        waited = self.tool.wait("settled", wave.began, self.within)
        after, report = self.usage(), self.tool.report(wave.began)
        figures = {
            "nodes": len(self.joined),
            "registered_s": registered,
            "settled_s": _last(waited),
            "server_cpu_s": after.cpu_s - before.cpu_s,
            "tool_cpu_s": report.cpu_s - own,
            "drops": sum(report.drops_since.values()),
            "peers": expected.total,
            "messages": report.counts["messages"],
            "rss_mib": after.rss_mib,
            "descriptors": after.descriptors,
            **_lacking(waited),
        }
        raw = {"registered": sorted(wave.after.values()), "settled": waited.after}
        failed = [f"{name}: {who} did not join: {why}" for who, why in wave.failed.items()]
        wrong = [f"{name}: {who} is not settled: {w}" for who, w in report.wrong.items()][:3]
        return Row(name, figures, raw, (*failed, *wrong))

    def _expect(self, ours: Mapping[str, access.Node]) -> plan.Expected:
        """Everybody who is there, at their addresses, and ours who come."""
        rows = server.ask(self.server, "nodes", "list") or []
        expected = plan.expected(self._model, {**ours, **plan.listed(rows)})
        self.tool.expect(expected.classes, expected.sees)
        return expected


def _last(waited: Waited) -> float:
    """When the last node met the condition; -1 when some never did."""
    return -1 if waited.lacking or not waited.after else waited.after[-1]


def _lacking(waited: Waited) -> dict[str, float]:
    return {"lacking": waited.lacking}


def _faults(phase: str, waited: Waited) -> tuple[str, ...]:
    if not waited.lacking:
        return ()
    some = ", ".join(waited.missing[:3])
    return (f"{phase}: {waited.lacking} of {waited.nodes} nodes never: {some}",)


def kept(row: Row) -> dict[str, Any]:
    """The row as it is kept: times to 10 ms."""
    raw = {name: [round(value, 2) for value in values] for name, values in row.raw.items()}
    figures = {name: round(value, 3) for name, value in row.figures.items()}
    return {"phase": row.phase, "figures": figures, "raw": raw, "faults": list(row.faults)}
