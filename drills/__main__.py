"""Fault drills on the booted lab: python -m drills --state .lab --runs 20.

Each drill breaks one thing while clients and writers use the mesh, measures, mends it, and keeps
one record. An interrupted run mends what it broke and keeps what it had recorded.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.status import Status

from drills import actions, api, baseline, record, report, two_clients
from drills.api import Api, ApiError, Registry
from drills.faults import FAULTS
from drills.gate import Gate
from drills.mesh import Mesh
from drills.probes import Probes
from drills.record import Record
from drills.run import Drill, DrillError
from lab.engine import Engine
from lab.world.authority import authority
from lab.world.errors import WorldError

REPOSITORY: Final = Path(__file__).parent.parent
REPORTS: Final = REPOSITORY / "docs" / "reports"
PATIENCE: Final = 150.0  # s; a client on a silent entry notices after 120, if it ever does
HOPELESS: Final = 60.0  # s; in the baseline most faults wait for an operator
_console: Final = Console(highlight=False, soft_wrap=True, markup=False)


@dataclass(frozen=True)
class Campaign:
    """Many drills on one mesh."""

    mesh: Mesh
    names: tuple[str, ...]
    runs: int
    folder: Path
    guarded: bool
    arbitrated: bool  # the stack has an arbiter
    patience: float

    @property
    def design(self) -> str:
        """Which of the report's it is."""
        if not self.guarded:
            return "baseline"
        return "arbiter" if self.arbitrated else "guard"

    def run(self) -> int:
        """How many drills were bad, as their records say it."""
        actions.restore(self.mesh)
        baseline.restore(self.mesh)
        active = two_clients.active_name(self.mesh.world, self.mesh.outputs)
        key = api.create_key(self.mesh, active)
        try:
            with nullcontext() if self.guarded else baseline.applied(self.mesh):
                return self._with(key)
        finally:
            active = two_clients.active_name(self.mesh.world, self.mesh.outputs)
            api.expire_key(self.mesh, active, key)

    def _with(self, key: str) -> int:
        addresses = tuple(api.addresses(self.mesh))
        public = authority().certificate.read_text()  # as machines outside trust it
        door = Api(self.mesh.server_name, public, key, addresses)
        try:
            with Probes(self.mesh, door) as probes:
                return self._all(probes, Registry(self.mesh, door))
        except BaseException:
            _console.print("mending what was broken")
            actions.restore(self.mesh, guarded=self.guarded)
            raise

    def _all(self, probes: Probes, registry: Registry) -> int:
        plan = self.names * self.runs
        bad = 0
        with _console.status("starting") as status:
            for number, name in enumerate(plan, 1):
                drill = Drill(
                    name=name,
                    fault=FAULTS[name],
                    mesh=self.mesh,
                    probes=probes,
                    registry=registry,
                    gate=Gate(self.mesh, probes, registry, self.guarded, self.arbitrated),
                    design=self.design,
                    patience=self.patience,
                    say=partial(_say, status, f"{number}/{len(plan)} {name}"),
                )
                done = self._one(drill)
                report.write(self.folder, record.append(self.folder, done))
                _console.print(f"{number}/{len(plan)} {summary(done)}")
                bad += done.bad
        return bad

    def _one(self, drill: Drill) -> Record:
        try:
            return drill.run()
        except (WorldError, ApiError, DrillError, OSError) as error:
            actions.restore(self.mesh, guarded=self.guarded)
            return record.failed(drill.name, drill.design, str(error))


def possible_faults(*, guarded: bool, arbitrated: bool) -> tuple[str, ...]:
    """The faults that make sense in a design, in their order."""
    return tuple(
        name
        for name, fault in FAULTS.items()
        if (guarded or name not in baseline.IMPOSSIBLE)
        and (not fault.for_arbiter or (guarded and arbitrated))
    )


def summary(done: Record) -> str:
    """One line for the person who watches."""
    if done.failed:
        return f"{done.fault}: FAILED: {done.failed}"
    lived = len(done.details["clients"]) - done.clients_on_dead_entry
    seconds = {
        "clients": done.clients_back_s if lived else 0,
        "dead entry": done.dead_entry_back_s if done.clients_on_dead_entry else 0,
        "new client": done.registration_back_s,
        "writes": done.writes_back_s,
        "whole": done.whole_again_s,
    }
    said = ", ".join(f"{what} {_shown(value)}" for what, value in seconds.items() if value != 0)
    return (
        f"{done.fault}: {said}; lost {done.lost_acknowledged} of {done.acknowledged}, "
        f"two writers {done.double_writer_s:g} s, without the fence {done.outsider_s:g} s, "
        f"pings lost {done.lost_pings}"
    )


def _shown(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def _say(status: Status, of: str, said: str) -> None:
    status.update(f"{of}: {said}")
    if not _console.is_terminal:
        _console.print(f"{of}: {said}")


def running_mesh(state: Path) -> Mesh:
    """The mesh of stack lab with two clients on it, brought up where it is not."""
    world = two_clients.running_world(state)
    engine = Engine(state, REPOSITORY)
    engine.ensure_stack(two_clients.STACK)
    outputs = engine.stack_outputs(two_clients.STACK, show_secrets=True)
    if "hosts" not in outputs:
        engine.run("up", "--stack", two_clients.STACK, "--yes", "--skip-preview").check()
        outputs = engine.stack_outputs(two_clients.STACK, show_secrets=True)
    for host in world.hosts():
        host.start()
    return Mesh(world, outputs, two_clients.join_two(world, outputs))


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 1 when a drill failed, lost a write, saw two writers or a session without
    the fence.
    """
    options = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was broken is mended
    if options.list:
        for name, fault in FAULTS.items():
            _console.print(f"{name:22} {fault.title}")
        return 0
    wanted = tuple(options.faults.split(",")) if options.faults else ()
    if unknown := [name for name in wanted if name not in FAULTS]:
        _console.print(f"no such fault: {', '.join(unknown)}; --list shows them")
        return 2
    mesh = running_mesh(options.state)
    arbitrated = mesh.has_arbiter()
    possible = possible_faults(guarded=not options.baseline, arbitrated=arbitrated)
    if without := [name for name in wanted if name not in possible]:
        _console.print(f"not possible in this design: {', '.join(without)}")
        return 2
    campaign = Campaign(
        mesh=mesh,
        names=wanted or possible,
        runs=options.runs,
        folder=options.report,
        guarded=not options.baseline,
        arbitrated=arbitrated,
        patience=options.patience or (HOPELESS if options.baseline else PATIENCE),
    )
    return 1 if campaign.run() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drills", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".lab"), help="the lab's folder")
    parser.add_argument("--runs", type=int, default=1, help="of each fault, in turn")
    parser.add_argument("--faults", help="some of them, as a,b,c; all without it")
    parser.add_argument("--list", action="store_true", help="show the faults")
    parser.add_argument(
        "--baseline", action="store_true", help="without guards, Patroni with its own defaults"
    )
    parser.add_argument("--report", type=Path, default=REPORTS, help="the folder of the report")
    patience = f"seconds until a fault is healed anyway ({PATIENCE:g}; baseline: {HOPELESS:g})"
    parser.add_argument("--patience", type=float, help=patience)
    return parser


if __name__ == "__main__":
    sys.exit(main())
