"""`meshctl derp`: which relays clients are told of, and why."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from meshctl import facts, options, show
from meshctl.ssh import Session
from meshctl.trouble import MeshctlError
from meshctl.verdict import QUIET_SECONDS

app = typer.Typer(no_args_is_help=True, help="Relays in the DERP map.")

_KINDS = {"derp_mesh": "DERP", "derp_udp": "STUN", "tls": "certificate"}


@app.command("show")
def show_relays(context: typer.Context, json: options.Json = False) -> None:
    """Which relays are in the map, and what the probes say."""
    told = options.work(context, facts.relays)
    if json:
        show.as_json(told)
        return
    head = ("relay", "region", "map", "since", "override", "probes", "why")
    show.table(head, [_row(relay) for relay in told["relays"]])
    show.line(
        f"at most {told['limit']} out by themselves; told {show.span(told['age_seconds'])} ago"
    )
    if told["age_seconds"] > QUIET_SECONDS:
        show.line("OLD: mesh-relay-watch tells nothing any more")
    if told["own_network_sick"]:
        show.line("more than half fail at once: it is taken for a fault on the side of ops-1")
    if told["trouble"]:
        show.line(f"no decision: {told['trouble']}")


@app.command("set")
def set_wish(
    context: typer.Context,
    relay: Annotated[str, typer.Argument(help="Its code, such as sh.")],
    wish: Annotated[Literal["in", "out", "auto"], typer.Argument(help="auto: as the probes say.")],
) -> None:
    """Decide for one relay, whatever the probes say; or leave it to them."""

    async def job(session: Session) -> str:
        known = [one["relay"] for one in (await facts.relays(session))["relays"]]
        if relay not in known:
            raise MeshctlError(f"{relay!r} is no relay; choose from {', '.join(known)}")
        return await _tell(session, "set", relay, wish)

    show.line(options.work(context, job))


@app.command("limit")
def limit(
    context: typer.Context, number: Annotated[int, typer.Argument(min=0, metavar="N")]
) -> None:
    """How many relays may be out by themselves at a time; 0 brings all of those back."""
    show.line(options.work(context, lambda session: _tell(session, "limit", str(number))))


async def _tell(session: Session, *words: str) -> str:
    name = session.mesh.names("ops")[0]
    return (await session.ask(name, ["sudo", "mesh-relays", *words])).strip()


def _row(relay: dict[str, Any]) -> tuple[object, ...]:
    probes = [f"{text} {_result(relay['probes'].get(kind))}" for kind, text in _KINDS.items()]
    inside = "in" if relay["in_map"] else "OUT"
    since = show.moment(relay["since"])
    words = ", ".join(probes)
    return relay["relay"], relay["region"], inside, since, relay["override"], words, relay["why"]


def _result(probe: dict[str, Any] | None) -> str:
    if probe is None:
        return "-"
    if probe["age_seconds"] > QUIET_SECONDS:
        return f"? (for {show.span(probe['age_seconds'])})"
    return "ok" if probe["passed"] else f"FAILS {show.span(probe['for_seconds'])}"
