"""docs/reports/load.json and load.md: what `benchmarks.load` found."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from meshctl.load import trial
from meshctl.load.trial import Row

_KEY: Final = ("server", "version", "nodes", "cores", "wave")
Run = Mapping[str, Any]


def write(folder: Path, about: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Put a run in place of an older one of the same kind, and write the report anew."""
    path = folder / "load.json"
    runs: list[Run] = json.loads(path.read_text()) if path.exists() else []
    runs = [run for run in runs if _key(run["about"]) != _key(about)]
    runs.append({"about": about, "rows": [trial.kept(row) for row in rows]})
    runs.sort(key=lambda run: [str(part).zfill(6) for part in _key(run["about"])])
    path.write_text("[\n" + ",\n".join(map(_text, runs)) + "\n]\n")
    (folder / "load.md").write_text(report(runs))


def _key(about: Mapping[str, Any]) -> list[Any]:
    return [about[name] for name in _KEY]


def _text(run: Run) -> str:
    """A run with a row on each line."""
    rows = ",\n".join(json.dumps(row) for row in run["rows"])
    return f'{{"about": {json.dumps(run["about"])}, "rows": [\n{rows}\n]}}'


def report(runs: Sequence[Run]) -> str:
    """The tables."""
    joins = _table(_JOINED, [_line(run) for run in runs])
    kills = _table(_KILLED, [_kills(run) for run in runs if _rows(run, "kill")])
    soaks = _table(_SOAKED, [_soak(run) for run in runs if _rows(run, "churn")])
    ratios = _table(("version", "nodes", "pair", "plain", "ratio"), _ratios(runs))
    return f"{_HEAD}{joins}{_plots(runs)}{_KILLS}{kills}{_SOAKS}{soaks}{_RATIOS}{ratios}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _rows(run: Run, *phases: str) -> list[Mapping[str, Any]]:
    return [row for row in run["rows"] if row["phase"].startswith(phases)]


def _figures(run: Run, name: str, *phases: str) -> list[float]:
    return [row["figures"][name] for row in _rows(run, *phases)]


def _line(run: Run) -> list[str]:
    about = run["about"]
    waves = _rows(run, "wave")
    nodes = waves[-1]["figures"]["nodes"]
    return [
        _name(about),
        f"{nodes:.0f}",
        f"{waves[-1]['figures']['peers'] / nodes:.0f}",
        _sum(_figures(run, "registered_s", "wave")),
        _sum(_figures(run, "settled_s", "wave")),
        f"{join_cpu(run):.0f} s",
        f"{sum(_figures(run, 'tool_cpu_s', 'wave')):.0f} s",
        _seconds(_figures(run, "last_s", "policy")),
        _seconds(_figures(run, "settled_s", "newcomer")),
        _counts(_figures(run, "drops", "wave")),
        _counts(_figures(run, "drops", "rest")),
        f"{max(_figures(run, 'rss_mib', 'wave')):.0f} MiB",
        str(about.get("busy", "–")),
        about["at"][:10],
    ]


def _plots(runs: Sequence[Run]) -> str:
    """What each wave of the largest join of a pair took, in CPU and until it was settled."""
    joined = [run for run in runs if run["about"]["server"] == "pair"]
    if not joined:
        return ""
    run = max(joined, key=lambda run: (run["about"]["nodes"], run["about"]["at"]))
    waves = _rows(run, "wave")[1:]  # the first is one node alone
    nodes = [f"{wave['figures']['nodes']:.0f}" for wave in waves]
    took = {
        "CPU s": [wave["figures"]["server_cpu_s"] for wave in waves],
        "s until all are settled": [max(wave["figures"]["settled_s"], 0) for wave in waves],
    }
    charts = (_PLOT.format(what=what, nodes=", ".join(nodes), values=_list(values))
              for what, values in took.items())  # fmt: skip
    return _PLOTS.format(name=_name(run["about"])) + "\n".join(charts)


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def join_cpu(run: Run) -> float:
    """CPU seconds that the server took for all waves."""
    return sum(_figures(run, "server_cpu_s", "wave"))


def _name(about: Mapping[str, Any]) -> str:
    cores = "" if about["cores"] == "0-1" else f", cores {about['cores']}"
    return f"{about['server']}, {about['version']}{cores}"


def _kills(run: Run) -> list[str]:
    streaming = [value for row in _rows(run, "kill") for value in row["raw"]["streaming"]]
    settled = _figures(run, "settled_s", "kill")
    return [
        _name(run["about"]),
        str(run["about"]["nodes"]),
        str(len(settled)),
        _seconds(_figures(run, "first_s", "kill")),
        f"{_quantile(streaming, 0.5):.1f} / {_quantile(streaming, 0.95):.1f} s",
        _seconds(_figures(run, "streaming_s", "kill")),
        _seconds(settled),
        _counts(_figures(run, "wrong_nodes", "kill")),
    ]


def _soak(run: Run) -> list[str]:
    memory, files = _figures(run, "rss_mib", "churn"), _figures(run, "descriptors", "churn")
    return [
        _name(run["about"]),
        str(run["about"]["nodes"]),
        f"{_figures(run, 'elapsed_s', 'churn')[-1] / 60:.0f} min",
        str(len(memory)),
        _seconds(_figures(run, "settled_s", "churn")),
        _counts(_figures(run, "drops", "churn")),
        _change(memory, " MiB"),
        _change(files, ""),
    ]


def _change(values: Sequence[float], unit: str) -> str:
    """The median of the first tenth, that of the last one, and the highest of all."""
    tenth = max(len(values) // 10, 1)
    first, last = statistics.median(values[:tenth]), statistics.median(values[-tenth:])
    return f"{first:.0f} → {last:.0f} (≤ {max(values):.0f}){unit}"


def _ratios(runs: Sequence[Run]) -> Iterable[list[str]]:
    """CPU of the pair's servers over that of a plain one of the same release and size."""
    plain = {
        (run["about"]["version"], run["about"]["nodes"], run["about"]["cores"]): run
        for run in runs
        if run["about"]["server"] == "plain"
    }
    for run in runs:
        about = run["about"]
        other = plain.get((about["version"], about["nodes"], about["cores"]))
        if about["server"] == "pair" and other is not None:
            ours, theirs = join_cpu(run), join_cpu(other)
            yield [
                about["version"],
                str(about["nodes"]),
                f"{ours:.1f} s",
                f"{theirs:.1f} s",
                f"{ours / theirs:.2f}",
            ]


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))] if ordered else -1


def _sum(values: Sequence[float]) -> str:
    return "never" if min(values, default=-1) < 0 else f"{sum(values):.1f} s"


def _seconds(values: Sequence[float]) -> str:
    """The median, and the worst of several."""
    if not values:
        return "–"
    if min(values) < 0:
        return f"never ({sum(value < 0 for value in values)} of {len(values)})"
    median = f"{statistics.median(values):.1f}"
    return f"{median} s" if len(values) == 1 else f"{median} (≤ {max(values):.1f}) s"


def _counts(values: Sequence[float]) -> str:
    return f"{sum(values):.0f}" if values else "–"


_HEAD: Final = """\
# How many nodes one mesh carries

`python -m benchmarks.load` (`make bench-load N=…`). Virtual nodes speak the control protocol and
hold the stream of network maps, but have no tunnel; they are of the seed's tags and people
(`meshctl/load/plan.py`), under the policy of `policy/`. *plain* is one Headscale on SQLite on this
machine's loopback; *pair* is the booted lab: two control hosts, PostgreSQL under Patroni, the
proxies, the nodes on a machine of their own. Everything runs on the same cores, the virtual nodes
behind the rest (nice 10), so CPU seconds say more than seconds of the clock. `load.json` keeps
every figure and the time of every node.

- *registered*, *settled*: the sum over all waves, each of which settles before the next one comes.
  A node is settled when its peers are exactly those that `mesh/access.py` computes from the policy,
  each by its name; *never* when some were not within the time limit.
- *policy*: a rule comes that every node is told of; until the last one has it.
- *newcomer*: one more node joins; until it and every other node is settled.
- *dropped*: streams that ended by themselves, while waves joined, and then over a minute of rest.
- *CPU of the nodes*: what the virtual nodes took beside the server.
- *busy*: the load average of the machine before the run, from what else it did.

"""
_JOINED: Final = (
    *("server", "nodes", "peers each", "registered", "settled", "CPU to join", "CPU of the nodes"),
    *("policy", "newcomer", "dropped, joining", "dropped, at rest", "memory", "busy", "date"),
)
_PLOTS: Final = """
## What each hundred costs

{name}: nodes that are there once the next hundred has joined.

"""
_PLOT: Final = """\
```mermaid
xychart-beta
    x-axis "nodes" [{nodes}]
    y-axis "{what}"
    bar [{values}]
```
"""
_KILLS: Final = """
## The server is killed

`kill -9` of the Headscale that serves. A plain one is started again at once by the driver; the
pair's guards do what they do. Seconds from the kill; *median / 95 %* over all nodes and kills,
*all* is the median (and the worst) over the kills of the last node.

"""
_KILLED: Final = (
    *("server", "nodes", "kills", "first node streams", "median / 95 %", "all stream"),
    *("all settled", "wrong peer sets"),
)
_SOAKS: Final = """
## A fleet that lives

One node after another leaves for good and another one comes, until every node is settled again.
Memory and open files of the server: the first tenth of the time, the last one, and the most.

"""
_SOAKED: Final = (
    *("server", "nodes", "for", "replaced", "settled again", "dropped", "memory", "open files"),
)
_RATIOS: Final = """
## What the pair costs over a plain server

CPU seconds of the Headscale processes for all waves of the join.

"""
