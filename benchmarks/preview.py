"""How long a preview of prod takes beside that of an empty program, on the same engine.

python -m benchmarks.preview        # writes docs/reports/preview.json and preview.md
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
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


def main() -> int:
    """Measures both in turn, so that a busy moment hits both, and writes the report."""
    with tempfile.TemporaryDirectory() as folder:
        prod = _engine(Path(folder), REPOSITORY, "prod")
        empty = _engine(Path(folder), _empty_program(Path(folder) / "empty"), "dev")
        resources = len(prod.preview_json("prod")["steps"])  # also fills the caches
        empty.preview_json("dev")
        samples: dict[str, list[float]] = {"prod": [], "empty": []}
        for _ in range(ROUNDS):
            samples["prod"].append(_seconds(prod, "prod"))
            samples["empty"].append(_seconds(empty, "dev"))
        calls = prod.store.calls()
    medians = {name: statistics.median(values) for name, values in samples.items()}
    report = {
        "ratio": round(medians["prod"] / medians["empty"], 2),
        "prod_s": round(medians["prod"], 2),
        "empty_s": round(medians["empty"], 2),
        "resources": resources,
        "rounds": ROUNDS,
        "samples_s": {name: [round(value, 2) for value in v] for name, v in samples.items()},
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


def _seconds(engine: Engine, stack: str) -> float:
    start = time.monotonic()
    engine.run("preview", "--stack", stack, timeout=120).check()
    return time.monotonic() - start


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
| inside the providers' calls, summed | {report["provider_calls_s"]} s |

A fresh interpreter that imports, seconds (the fastest of three):

| | |
|---|---|
{rows}

The cloud modules load single files of their SDKs (`components/clouds/lean.py`) and only of clouds
that the stack uses. What is left beside imports: one plugin process a provider and region, and
the SDK's own work per resource.
"""
    )


if __name__ == "__main__":
    sys.exit(main())
