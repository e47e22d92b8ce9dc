"""Who reaches what, and what joining or a change of addresses or keys costs, on a running lab.

python -m benchmarks.access --state .lab      # writes docs/reports/access.json and access.md
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from drills import access, joining, live, rotation, two_clients
from drills.__main__ import running_mesh
from drills.access import CAST, Row, SshRow
from drills.crowd import Crowd
from drills.live import Live, Move
from drills.mesh import Mesh

REPORTS: Final = Path(__file__).parent.parent / "docs" / "reports"
NODES: Final = 52  # of which at least 50 are not yet where they belong
KEY: Final = "prod-servers"
JOINS: Final = 5  # fresh machines, one after another
JOIN_SECONDS: Final = 300  # plan 1.2: installed and configured in less
_JUNIOR: Final = '"src": ["group:dev-junior"], "dst": ["tag:dev:*"'


@dataclass(frozen=True)
class Figure:
    """One figure: how many, or how long."""

    part: str
    what: str
    value: float
    unit: str = "rows"
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True)
class Findings:
    """What one part found: figures, and what was not as it must be."""

    figures: tuple[Figure, ...]
    faults: tuple[str, ...]


def main() -> int:
    """Measures all parts, in turn; 1 when something was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".lab"))
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, as a,b")
    options = parser.parse_args()
    wanted = options.parts.split(",")
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    mesh = running_mesh(options.state)
    bad = 0
    for name in wanted:
        for found in PARTS[name](mesh):
            write(found)
            bad += len(found.faults)
            print("\n".join(found.faults), file=sys.stderr)
    return 1 if bad else 0


# Packets, SSH and a way back


def connections(mesh: Mesh) -> Iterator[Findings]:
    """The table of plan 7.2, before a change of the policy and after its rollback; and SSH."""
    server = Live(mesh.world, mesh.outputs)
    with live.placed_cast(server) as crowd:
        before = access.packets(crowd)
        yield _table("packets", before)
        yield _table("datagrams", access.datagrams(crowd))
        yield _logins(access.logins(crowd))
        yield _rollback(server, crowd, before)


def _table(part: str, rows: Sequence[Row]) -> Findings:
    unknown = access.count(rows, lambda row: not row.done.seen)
    faults = access.faults(rows)
    counts = {
        "tried": len(rows),
        "allowed and connected": access.count(rows, lambda r: r.allowed and not r.fault),
        "denied by the destination's filter": access.count(
            rows, lambda r: not r.allowed and r.done.outcome == "dropped"
        ),
        "denied, the destination not even known": unknown,
        "exceptions": len(faults),
    }
    figures = [Figure(part, what, value) for what, value in counts.items()]
    slowest = max(row.done.seconds for row in rows if row.done.outcome == "connected")
    figures.append(Figure(part, "slowest connection", slowest, "s"))
    return Findings(tuple(figures), tuple(faults))


def _logins(rows: Sequence[SshRow]) -> Findings:
    faults = access.faults(rows)
    counts = {
        "tried": len(rows),
        "allowed and in": sum(row.allowed and not row.fault for row in rows),
        "denied": sum(not row.allowed and not row.fault for row in rows),
        "exceptions": len(faults),
    }
    return Findings(tuple(Figure("ssh", w, v) for w, v in counts.items()), tuple(faults))


def _rollback(server: Live, crowd: Crowd, before: Sequence[Row]) -> Findings:
    good = server.registry("policy", "show")
    server.set_policy(good["text"].replace(_JUNIOR, f'{_JUNIOR}, "tag:staging:*"'))
    opened = ("dev-laptop-dev03", "staging-app-bj-901", 22)
    try:
        access.await_connection(crowd, *opened)
        changed = access.outcomes(access.packets(crowd))
    finally:
        server.registry("policy", "rollback", str(good["version"]))
    access.await_denial(crowd, *opened)
    after = access.packets(crowd)
    first, last = access.outcomes(before), access.outcomes(after)
    figures = (
        Figure("rollback", "opened by the change", _differences(first, changed)),
        Figure("rollback", "different after the rollback", _differences(first, last)),
    )
    faults = [] if first != changed else ["the change of the policy changed nothing"]
    return Findings(figures, (*faults, *access.faults(after)))


def _differences(
    one: dict[tuple[str, str, int], bool], other: dict[tuple[str, str, int], bool]
) -> int:
    return sum(one[row] != other[row] for row in one)


# Addresses


def addresses(mesh: Mesh) -> Iterator[Findings]:
    """Fifty nodes get addresses of their ranges, and their old ones back."""
    server = Live(mesh.world, mesh.outputs)
    members = (*CAST, *live.fillers(NODES - len(CAST)))
    with server.gathered(members) as crowd:
        before = server.addresses()
        there = live.follow(server, crowd, ["apply"], live.planned(server, crowd))
        yield _move("apply", there)
        old = {name: before[name] for name in there.moved}
        back = live.follow(server, crowd, ["undo", there.undo], old)
        yield _move("undo", back)
        now = server.addresses()
        kept = [f"{n} had {a}, has {now.get(n)}" for n, a in before.items() if now.get(n) != a]
        figure = Figure("undo", "nodes without their old address", len(kept), "nodes")
        yield Findings((figure,), tuple(kept))
        server.await_addresses(crowd)


def _move(part: str, done: Move) -> Findings:
    figures = [Figure(part, "nodes moved", len(done.moved), "nodes")]
    if done.pause is not None:
        figures.append(Figure(part, "without a server", done.pause, "s"))
    lost = [name for name, after in done.ping_after.items() if after is None]
    for what, times in (("new address", done.address_after), ("first ping", done.ping_after)):
        known = sorted(after for after in times.values() if after is not None)
        if known:
            figures.append(Figure(part, f"{what}: median", statistics.median(known), "s"))
            figures.append(Figure(part, f"{what}: slowest", known[-1], "s"))
    faults = tuple(f"{part}: {name} never pinged from its new address" for name in lost)
    return Findings(tuple(figures), faults)


# Keys


def keys(mesh: Mesh) -> Iterator[Findings]:
    """A key is rotated while machines join by it."""
    done = rotation.under_joins(Live(mesh.world, mesh.outputs), mesh.clients[1], KEY)
    every = (*done.by_old_key, *done.by_new_key)
    figures = (
        Figure("rotation", "joins by the old key, around its rotation", len(done.by_old_key)),
        Figure("rotation", "joins by the new key", len(done.by_new_key)),
        Figure("rotation", "joins that failed", len(done.failed)),
        Figure("rotation", "slowest join", max(a.ended - a.began for a in every), "s"),
    )
    faults = [f"a join failed: {said}" for said in done.failed]
    if not done.replaced:
        faults.append(f"key {KEY} is still the same one")
    yield Findings(figures, tuple(faults))


# Joining


def joins(mesh: Mesh) -> Iterator[Findings]:
    """Fresh machines join by the line that meshctl prints."""
    server = Live(mesh.world, mesh.outputs)
    key = mesh.outputs["keys"][KEY]
    done = [
        joining.timed(server, two_clients.DEVICE, f"prod-web-bj-{number}", key)
        for number in range(801, 801 + JOINS)
    ]
    figures = [Figure("join", "fresh machines that joined", len(done), "machines")]
    for what, times in (
        ("installed and in the mesh", sorted(join.installed for join in done)),
        ("first answer of a peer", sorted(join.answered for join in done)),
    ):
        figures.append(Figure("join", f"{what}: median", statistics.median(times), "s"))
        figures.append(Figure("join", f"{what}: slowest", times[-1], "s"))
    late = [f"a join took {join.answered:.0f} s" for join in done if join.answered > JOIN_SECONDS]
    yield Findings(tuple(figures), tuple(late))


PARTS: Final[dict[str, Callable[[Mesh], Iterator[Findings]]]] = {
    "connections": connections,
    "addresses": addresses,
    "keys": keys,
    "joins": joins,
}


# Report


def write(found: Findings) -> None:
    """Put the figures in place of older ones of the same name, and write the report anew."""
    path = REPORTS / "access.json"
    kept = json.loads(path.read_text()) if path.exists() else []
    new = {(figure.part, figure.what) for figure in found.figures}
    kept = [row for row in kept if (row["part"], row["what"]) not in new]
    kept += [asdict(figure) for figure in found.figures]
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in kept) + "\n]\n")
    lines = [f"| {r['part']} | {r['what']} | {r['value']:.4g} | {r['unit']} |" for r in kept]
    (REPORTS / "access.md").write_text(_HEAD + "\n".join(lines) + "\n")


_HEAD: Final = """\
# Who reaches what

`python -m benchmarks.access --state .lab` on a running lab (`make lab`). Each figure is of the
last run of its part; `access.json` has the same, with dates.

- *packets*: a real client for each role of plan 7.2 tries every other one by TCP on every port that
  the policy names, through its own tunnel. A row counts as allowed when the connection came through
  the client that has the address, from the caller's node, by that client's word. It counts as
  denied when the destination's packet filter said so, or when the source does not know the
  destination at all: Headscale tells nobody of a node that no rule opens. Silence counts as an
  exception. The clients have no network device (userspace networking) and share one machine.
- *datagrams*: the same by UDP, on port 53 only, whose service speaks it; connected is what was
  answered. The rules name no protocol, so each opens TCP and UDP. The other ports were not tried by
  UDP packets: unit tests compare the model of the policy with Headscale's own answers for both.
- *ssh*: Tailscale SSH from people to servers, as root, ubuntu and one whom no rule names.
- *rollback*: the policy is widened, then `mesh-registry policy rollback`; the table is tried again.
- *apply*, *undo*: `mesh-registry addresses`; *without a server* by its own clock. Seconds of
  clients count from the start of the command, until `tailscale status` shows the new address
  (looked up every 0.25 s) and until a ping through the tunnel to another moved client is answered.
- *rotation*: new machines join one after another by the key that an installer holds, while
  `mesh-registry keys rotate --force` replaces it; then by the new one.
- *join*: freshly booted Debian machines run the line of `meshctl clients line`; seconds count from
  its start until the installer is done, and until a peer answers `tailscale ping`. The programs
  come from the lab's object store on the same machine: over a real network their 53 MB take longer.

| part | what | value | unit |
| --- | --- | --- | --- |
"""


if __name__ == "__main__":
    raise SystemExit(main())
