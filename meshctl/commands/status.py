"""`meshctl status`: one screen that says how the mesh is and what to do next."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from meshctl import facts, options, show, verdict
from meshctl.control import Guard, Silence
from meshctl.facts import Facts
from meshctl.verdict import Verdict


def status(context: typer.Context, json: options.Json = False) -> None:
    """How the mesh is: exit 0 healthy, 1 degraded, 2 down, 3 could not look."""
    told = options.work(context, facts.gather)
    judged = verdict.judge(told)
    if json:
        show.as_json(_document(told, judged))
    else:
        _screen(told, judged)
    raise typer.Exit(verdict.EXITS[judged.state])


def _document(told: Facts, judged: Verdict) -> dict[str, Any]:
    return {
        "state": judged.state,
        "reasons": [asdict(reason) for reason in judged.reasons],
        "control": {name: _guard(one) for name, one in told.guards.items()},
        "database": told.members,
        "voters": told.voters,
        "relays": told.relays,
        "certificates_seconds_left": told.certificates,
        "silent": {name: error.said for name, error in told.silent.items()},
    }


def _guard(one: Guard | Silence) -> dict[str, Any]:
    return {"error": one.error.said} if isinstance(one, Silence) else one.model_dump()


def _screen(told: Facts, judged: Verdict) -> None:
    show.coloured(f"{judged.state}")
    for reason in judged.reasons:
        show.coloured(f"  {reason.state}: {reason.what}")
        show.line(f"    do: {reason.do}")
    show.line()
    show.table(("control", "role", "since", "reaches primary", "certificate", "why"), _hosts(told))
    show.line()
    if told.members is None:
        show.line("database: could not be asked")
    else:
        head = ("database", "role", "state", "lag MB")
        show.table(head, [_member(member) for member in told.members])
    show.line()
    show.line(f"etcd:    {_count(told.voters, 'voters healthy')}")
    relays = told.relays and {one["relay"]: one["in_map"] for one in told.relays["relays"]}
    show.line(f"relays:  {_count(relays, 'in the map')}")
    lives = [f"{n} {show.span(s)}" for n, s in told.certificates.items() if n not in told.guards]
    show.line(f"         certificates for {', '.join(lives) or '?'}")


def _count(known: dict[str, bool] | None, what: str) -> str:
    if known is None:
        return "could not be asked"
    well = [name for name, good in known.items() if good]
    return f"{len(well)} of {len(known)} {what} ({', '.join(well) or 'none'})"


def _hosts(told: Facts) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for name, one in told.guards.items():
        left = told.certificates.get(name)
        if isinstance(one, Silence):
            rows.append((name, "silent", "-", "-", "-", one.error.said))
        else:
            role = one.role if one.fresh else f"{one.role}? (old)"
            since = show.moment(one.since)
            rows.append((name, role, since, one.database, show.span(left), one.reason))
    return rows


def _member(member: dict[str, Any]) -> tuple[object, ...]:
    # Of the leader it is not told.
    return member["Member"], member["Role"], member.get("State"), member.get("Receive Lag")
