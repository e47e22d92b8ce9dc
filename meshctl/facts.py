"""What the hosts say of the mesh, asked at the same time; that one says nothing is a fact too."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from meshctl import control
from meshctl.control import Guard, Silence
from meshctl.ssh import Session
from meshctl.stack import Role
from meshctl.trouble import HostError

_END_OF: Final = "date +%s && sudo sh -c 'cat {}' | openssl x509 -noout -enddate -dateopt iso_8601"
# Of the file that the host serves, be it pinned or from an ACME server.
CERTIFICATE: Final[dict[Role, str]] = {
    "control": _END_OF.format("/etc/mesh/public/entry.pem"),
    # Named after the relay; one of a former name may lie beside it.
    "relay": _END_OF.format("$(ls -t /etc/derper/*.crt | head -n 1)"),
}
MEMBERS: Final = "sudo patronictl list -f json"
VOTERS: Final = "sudo mesh-etcdctl endpoint health -w json"
RELAYS: Final = "date +%s && sudo mesh-relays --json"
_ENDS: Final = "notAfter="


@dataclass(frozen=True)
class Facts:
    """`None` in place of an answer: nobody who could know it could be asked, and `silent` says
    why. Certificates: seconds left, by control host and relay."""

    guards: dict[str, Guard | Silence]
    members: list[dict[str, Any]] | None
    voters: dict[str, bool] | None
    relays: dict[str, Any] | None
    certificates: dict[str, float]
    silent: dict[str, HostError]  # hosts that did not answer; control hosts if their guard did


async def gather(session: Session) -> Facts:
    """All of it; within some 40 s whatever is broken."""
    mesh = session.mesh
    databases, operations = mesh.names("database"), mesh.names("ops")
    guards, entries, relayed, members, voters, relays = await asyncio.gather(
        control.guards(session),
        _each(session, mesh.names("control"), CERTIFICATE["control"]),
        _each(session, mesh.names("relay"), CERTIFICATE["relay"]),
        _each(session, databases, MEMBERS),
        _each(session, (*operations, *databases), VOTERS, also_failed=True),
        _each(session, operations, RELAYS),
    )
    watcher, certificates = _aged(relays), _lives(entries | relayed)
    silent = {
        name: said
        for told in (members, voters, relays, certificates)
        for name, said in told.items()
        if isinstance(said, HostError)
    }
    unreachable = {name for name, said in guards.items() if isinstance(said, Silence)}
    return Facts(
        guards=guards,
        members=_first(members),
        voters=_voters(_first(voters)),
        relays=watcher,
        certificates={n: left for n, left in certificates.items() if isinstance(left, float)},
        silent={name: said for name, said in silent.items() if name not in unreachable},
    )


async def members(session: Session) -> list[dict[str, Any]]:
    """The members of the database's cluster, from whichever knows. Raises HostError."""
    told = await _each(session, session.mesh.names("database"), MEMBERS)
    found = _first(told)
    if found is None:
        raise next(said for said in told.values() if isinstance(said, HostError))
    return list(found)


async def relays(session: Session) -> dict[str, Any]:
    """What the watcher of the relays told last, and `age_seconds`. Raises HostError."""
    told = await _each(session, session.mesh.names("ops"), RELAYS)
    found = _aged(told)
    if found is None:
        raise next(said for said in told.values() if isinstance(said, HostError))
    return found


def _aged(told: dict[str, str | HostError]) -> dict[str, Any] | None:
    """The watcher's words with their age, by the clock of its host."""
    now = 0.0
    for name, said in told.items():
        if isinstance(said, str):
            first, _, told[name] = said.partition("\n")
            now = float(first) if first.isdigit() else 0.0
    found: dict[str, Any] | None = _first(told)
    return found and {**found, "age_seconds": now - found["at_seconds"]}


async def _each(
    session: Session, names: Iterable[str], command: str, *, also_failed: bool = False
) -> dict[str, str | HostError]:
    """What every host prints. `also_failed`: an answer counts whatever the exit status."""

    async def one(name: str) -> str | HostError:
        try:
            if also_failed:
                answer = await session.run(name, command)
                if answer.stdout.strip():
                    return answer.stdout
            return await session.ask(name, command)
        except HostError as error:
            return error

    names = list(names)
    waiting: list[Awaitable[str | HostError]] = [one(name) for name in names]
    return dict(zip(names, await asyncio.gather(*waiting), strict=True))


def _first(told: dict[str, str | HostError]) -> Any:
    """The first answer that is JSON, or None; what is not becomes a HostError in its place."""
    for name, said in told.items():
        if isinstance(said, HostError):
            continue
        try:
            return json.loads(said)
        except json.JSONDecodeError:
            told[name] = HostError(name, asked="JSON", said=f"no JSON: {said[:80]!r}")
    return None


def _voters(told: Any) -> dict[str, bool] | None:
    """Health by the voter's name: etcd knows it by https://pg-1:2379."""
    if told is None:
        return None
    return {
        str(one["endpoint"]).split("//")[-1].split(":")[0]: bool(one.get("health")) for one in told
    }


def _lives(told: dict[str, str | HostError]) -> dict[str, float | HostError]:
    """Seconds that each certificate has left, by the clock of its host."""
    return {
        name: said if isinstance(said, HostError) else life(name, said)
        for name, said in told.items()
    }


def life(name: str, said: str) -> float | HostError:
    """Seconds left, of a host's answer to CERTIFICATE."""
    now, _, end = said.partition("\n")
    try:
        ends = datetime.datetime.fromisoformat(end.strip().removeprefix(_ENDS))
        return ends.timestamp() - float(now)
    except ValueError:
        return HostError(name, asked="its certificate", said=f"no end in {end[:80]!r}")
