"""Many virtual nodes on one plain Headscale and on the lab's pair, measured side by side.

python -m benchmarks.load --nodes 300                    # both; the lab must be up for the pair
python -m benchmarks.load --nodes 300 --server plain --build stock

Writes docs/reports/load.json and load.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console

from benchmarks import load_report
from drills.__main__ import running_mesh
from drills.load import pair, plain
from drills.load.pair import Pair
from drills.load.plain import Plain
from mesh import hujson
from meshctl.load import plan, server, soak
from meshctl.load.server import Server
from meshctl.load.tool import Tool
from meshctl.load.trial import Row, Trial
from meshctl.load.usage import Meter

REPORTS: Final = Path(__file__).parent.parent / "docs" / "reports"
POLICY: Final = Path(__file__).parent.parent / "policy" / "policy.hujson"
NICE: Final = 10  # of the virtual nodes, so that the server comes first
_BUILDS: Final = {
    "patched": "headscale",
    "stock": "headscale-stock",
    "previous": "headscale-previous",
}
_REST: Final = 60.0  # s in which no stream may be dropped; longer than a keep-alive takes
_console: Final = Console(highlight=False, soft_wrap=True, markup=False)


class Local(Server, Protocol):
    """A server whose processes are this machine's."""

    def pids(self) -> list[int]:
        """They."""

    def kill(self) -> float:
        """Kill the one that serves; the time of the kill (monotonic)."""


@dataclass(frozen=True)
class Site:
    """A server, and what runs the virtual nodes beside it."""

    server: Local
    tool: Tool
    about: Mapping[str, str]


def main() -> int:
    """Measures each server in turn; 1 when something was not as it must be."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is removed
    bad = 0
    for name in options.server:
        with SITES[name](options) as site:
            bad += _measure(site, options)
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100, help="how many (100)")
    parser.add_argument("--server", nargs="+", choices=list(SITES), default=list(SITES))
    parser.add_argument("--build", choices=list(_BUILDS), default="patched", help="of a plain one")
    parser.add_argument("--state", type=Path, default=Path(".lab"), help="the lab of the pair")
    parser.add_argument("--wave", type=int, default=100, help="nodes that join together (100)")
    parser.add_argument("--at-once", type=int, default=16, help="registrations at a time (16)")
    parser.add_argument("--within", type=float, default=180, help="s for each phase (180)")
    parser.add_argument("--kills", type=int, default=3, help="how often the server dies (3)")
    parser.add_argument("--soak", type=float, default=0, help="s of churn (none)")
    parser.add_argument("--churn", type=float, default=5, help="%% of nodes replaced an hour (5)")
    parser.add_argument("--cores", default="", help="of a plain server, as taskset has them")
    return parser


# Servers


@contextmanager
def _plain(options: argparse.Namespace) -> Iterator[Site]:
    binary = plain.program(_BUILDS[options.build])
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        prefix = ["taskset", "--cpu-list", options.cores] if options.cores else []
        with Plain(Path(folder), binary, prefix=prefix) as made:
            line = ["nice", "-n", str(NICE), str(plain.program("mesh-load"))]
            yield Site(made, Tool(line, made.trust), {"build": options.build, "database": "SQLite"})


@contextmanager
def _pair(options: argparse.Namespace) -> Iterator[Site]:
    mesh = running_mesh(options.state)
    line = pair.line(pair.machine(mesh.world), NICE)
    yield Site(Pair(mesh), Tool(line), {"build": "as the lab has it", "database": "PostgreSQL"})


SITES: Final[dict[str, Callable[[argparse.Namespace], Any]]] = {"plain": _plain, "pair": _pair}


# One run


def _measure(site: Site, options: argparse.Namespace) -> int:
    """How many faults were found; the report grows with every phase."""
    about = _about(site, options)
    _console.print(f"{about['server']}: {about['version']}, {about['nodes']} nodes")
    kinds = plan.KINDS
    server.make_users(site.server, kinds)
    policy = _policy(options.build)
    server.set_policy(site.server, policy)
    site.tool.hear = _progress
    bad = 0
    rows: list[Row] = []
    with server.keys(site.server, kinds) as keys, site.tool as tool:
        usage = Meter(site.server.pids).read
        trial = Trial(site.server, tool, keys, policy, options.at_once, options.within, usage)
        try:
            for row in _phases(trial, site.server.kill, options):
                rows.append(row)
                load_report.write(REPORTS, about, rows)
                bad += _tell(row)
        finally:
            tool.end()
            server.remove_nodes(site.server)
    return bad


def _policy(build: str) -> str:
    """The repository's. 0.28 does not know nodeAttrs, which change nobody's peers."""
    text = POLICY.read_text(encoding="utf-8")
    if build != "previous":
        return text
    value = hujson.parse(text).value
    return json.dumps({name: part for name, part in value.items() if name != "nodeAttrs"})


def _phases(trial: Trial, kill: Callable[[], float], options: argparse.Namespace) -> Iterator[Row]:
    members = plan.members(options.nodes)
    for row in trial.join(members, options.wave):
        yield row
        if row.figures["lacking"]:
            return  # a server that is behind already would only fall behind further
    yield trial.quiet()
    yield trial.policy_change()
    yield trial.quiet()
    yield trial.newcomer(plan.member(members[-1].kind, 9000))
    yield trial.quiet()
    yield trial.rest(_REST)
    for _ in range(options.kills):
        yield trial.kill(kill)
        yield trial.quiet()
    if options.soak:
        yield from soak.run(trial, options.soak, options.churn / 100)


def _about(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    version = site.server.headscale("version").split()[2]
    return {
        "server": "plain" if isinstance(site.server, Plain) else "pair",
        **site.about,
        "version": version,
        "nodes": options.nodes,
        "wave": options.wave,
        "at_once": options.at_once,
        "cores": options.cores or f"0-{(os.cpu_count() or 1) - 1}",
        "tool": f"nice {NICE}",
        "busy": round(os.getloadavg()[0], 1),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _tell(row: Row) -> int:
    """Show a row; how many faults it has."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in row.figures.items())
    _console.print(f"{row.phase}: {figures}")
    for fault in row.faults:
        print(f"  {fault}", file=sys.stderr)
    return len(row.faults)


def _progress(said: Mapping[str, Any]) -> None:
    if _console.is_terminal:
        words = ("streaming", "settled", "messages", "drops")
        line = ", ".join(f"{name} {said[name]}" for name in words)
        _console.print(f"  {said['nodes']} nodes: {line}", end="\r")


if __name__ == "__main__":
    raise SystemExit(main())
