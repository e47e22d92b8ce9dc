"""How long a preview of prod takes beside that of an empty program, on the same engine.

python -m benchmarks.preview        # writes docs/reports/preview.json and preview.md
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.engine import Engine

REPOSITORY: Final = Path(__file__).parent.parent
REPORTS: Final = REPOSITORY / "docs" / "reports"
ROUNDS: Final = 7
_EMPTY: Final = {
    "Pulumi.yaml": "name: empty\nruntime:\n  name: python\n  options: {virtualenv: .venv}\n",
    "__main__.py": '"""Nothing."""\n',
}
_IMPORTS: Final = {
    "pulumi alone": "import pulumi",
    "the program's modules": "import components.installation",
    "with alicloud": "import components.installation, components.clouds.alicloud",
    "with tencentcloud": "import components.installation, components.clouds.tencentcloud",
    "with aws": "import components.installation, components.clouds.aws",
}


@dataclass(frozen=True)
class _Run:
    """One preview, in seconds: by the clock, and of processors."""

    wall: float
    cpu: float


def main() -> int:
    """Measures both in turn, so that a busy moment hits both, and writes the report."""
    with tempfile.TemporaryDirectory() as folder:
        prod = _engine(Path(folder), REPOSITORY, "prod")
        empty = _engine(Path(folder), _empty_program(Path(folder) / "empty"), "dev")
        resources = len(prod.preview_json("prod")["steps"])  # also fills the caches
        empty.preview_json("dev")
        runs: dict[str, list[_Run]] = {"prod": [], "empty": []}
        for _ in range(ROUNDS):
            runs["prod"].append(_timed(prod, "prod"))
            runs["empty"].append(_timed(empty, "dev"))
        calls = prod.store.calls()
    wall = {name: statistics.median(run.wall for run in found) for name, found in runs.items()}
    cpu = {name: statistics.median(run.cpu for run in found) for name, found in runs.items()}
    report = {
        "ratio": round(wall["prod"] / wall["empty"], 2),
        "prod_s": round(wall["prod"], 2),
        "empty_s": round(wall["empty"], 2),
        "cpu_s": {name: round(seconds, 2) for name, seconds in cpu.items()},
        "cpu_ratio": round(cpu["prod"] / cpu["empty"], 2),
        "resources": resources,
        "rounds": ROUNDS,
        "load": round(os.getloadavg()[0], 1),
        "samples_s": {name: [round(run.wall, 2) for run in v] for name, v in runs.items()},
        "provider_calls_s": round(sum(call.ms for call in calls) / 1000 / (ROUNDS + 1), 2),
        "import_s": {name: _import_seconds(line) for name, line in _IMPORTS.items()},
    }
    _write(report)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0


def _engine(folder: Path, program: Path, stack: str) -> Engine:
    engine = Engine(folder / f"state-{stack}", program)
    engine.ensure_stack(stack)
    return engine


def _empty_program(folder: Path) -> Path:
    folder.mkdir()
    for name, text in _EMPTY.items():
        (folder / name).write_text(text)
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    return folder


def _timed(engine: Engine, stack: str) -> _Run:
    start, before = time.monotonic(), _cpu_of_children()
    engine.run("preview", "--stack", stack, timeout=120).check()
    return _Run(time.monotonic() - start, _cpu_of_children() - before)


def _cpu_of_children() -> float:
    """Seconds that ended children took: all but the plugins, which the lab's host forks."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _import_seconds(line: str) -> float:
    """The fastest of three fresh interpreters."""
    times = []
    for _ in range(3):
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", line], cwd=REPOSITORY, check=True)
        times.append(time.monotonic() - start)
    return round(min(times), 2)


def _write(report: dict[str, Any]) -> None:
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "preview.json").write_text(json.dumps(report, indent=2) + "\n")
    rows = "\n".join(f"| {name} | {seconds} |" for name, seconds in report["import_s"].items())
    (REPORTS / "preview.md").write_text(
        f"""# Preview of prod beside an empty program

`python -m benchmarks.preview`: {report["rounds"]} rounds, one of each in turn, medians, real
engine, API-only clouds, caches warm.

| | |
|---|---|
| prod, {report["resources"]} resources | {report["prod_s"]} s |
| empty program | {report["empty_s"]} s |
| ratio | {report["ratio"]} (goal 2.5) |
| CPU, prod without providers | {report["cpu_s"]["prod"]} s |
| CPU, empty program | {report["cpu_s"]["empty"]} s |
| inside the providers' calls, summed | {report["provider_calls_s"]} s |
| load of the machine meanwhile | {report["load"]} on {os.cpu_count()} cores |

A fresh interpreter that imports, seconds (the fastest of three):

| | |
|---|---|
{rows}

The program imports single files of the clouds' SDKs (`components/clouds/lean.py`) and only of
clouds that the stack uses, sends no debug messages (`components/quiet.py`) and pauses so that the
engine works while it declares (`components/installation.py`). The lab forks its plugins from one
loaded process (`lab/plugin_host.py`), which a first run of an engine still has to wait for.

What sets the floor is the program's own process, which is one thread: the imports above, and the
SDK's work on each resource (its types, a stack trace, serialization, one call to the engine). Then
the engine's own work on each resource, the state and the display, and two calls of a provider.
Both share the machine's cores; where other work takes those, the ratio approaches that of the CPU
times.
"""
    )


if __name__ == "__main__":
    sys.exit(main())
