"""What `meshctl drill` breaks, by SSH alone.

Every fault mends itself: the guard or systemd starts anew what is dead or does not answer, and
what is frozen is woken by a timer on its host, should they not have ended it before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from meshctl import control, handover
from meshctl.ssh import Session
from meshctl.trouble import MeshctlError

WAKE_SECONDS: Final = 60
WAKE: Final = f"sudo systemd-run --quiet --collect --on-active={WAKE_SECONDS} "
_SIGNAL_GUARD: Final = "systemctl kill --kill-who=main --signal={} mesh-guard.service"
STOP_GUARD: Final = f"sudo {_SIGNAL_GUARD.format('STOP')}"
WAKE_GUARD: Final = WAKE + _SIGNAL_GUARD.format("CONT")
KILL_PRIMARY: Final = (
    "sudo sh -c 'kill -KILL $(head -n1 /var/lib/postgresql/*/mesh/postmaster.pid)'"
)
KILL_VOTER: Final = "sudo systemctl kill --kill-who=main --signal=KILL etcd.service"


@dataclass(frozen=True)
class Fault:
    """What is done, and how long nobody may be served then; seconds, as in docs/reports."""

    title: str
    inject: Callable[[Session], Awaitable[object]]
    budget: float


async def _server(session: Session) -> tuple[str, int]:
    """The active control host and the process of its Headscale. Raises MeshctlError."""
    name = (await handover.control_pair(session)).old
    told = await control.guard(session, name)
    if told.server_pid is None:
        raise MeshctlError(f"nothing was broken: the guard of {name} knows no process of Headscale")
    return name, told.server_pid


async def _kill_server(session: Session) -> None:
    name, process = await _server(session)
    await session.ask(name, f"sudo kill -KILL {process}")


async def _freeze_server(session: Session) -> None:
    name, process = await _server(session)
    await session.ask(name, f"{WAKE}kill -CONT {process}")
    await session.ask(name, f"sudo kill -STOP {process}")


async def _freeze_guard(session: Session) -> None:
    name, _ = await _server(session)
    await session.ask(name, WAKE_GUARD)
    await session.ask(name, STOP_GUARD)


async def _kill_primary(session: Session) -> None:
    pair = await handover.database_pair(session)
    await session.ask(pair.old, KILL_PRIMARY)


async def _kill_voter(session: Session) -> None:
    pair = await handover.database_pair(session)
    await session.ask(pair.new, KILL_VOTER)


async def _hand_over(session: Session) -> None:
    await handover.hand_over(session, await handover.control_pair(session))


async def _switch_over(session: Session) -> None:
    await handover.switch_over(session, await handover.database_pair(session))


Name = Literal[
    "server-killed",
    "server-frozen",
    "guard-frozen",
    "failover",
    "primary-killed",
    "voter-killed",
    "switchover",
]

FAULTS: Final[dict[Name, Fault]] = {
    "server-killed": Fault("Headscale killed (SIGKILL)", _kill_server, 4),
    # Both end like the loss of the host: the lease runs out.
    "server-frozen": Fault("Headscale frozen (SIGSTOP)", _freeze_server, 10),
    "guard-frozen": Fault("the active guard frozen (SIGSTOP)", _freeze_guard, 10),
    "failover": Fault("planned hand-over of Headscale", _hand_over, 3),
    "primary-killed": Fault("the PostgreSQL primary killed (SIGKILL)", _kill_primary, 4),
    "voter-killed": Fault("the standby's etcd voter killed (SIGKILL)", _kill_voter, 2),
    "switchover": Fault("planned switchover of PostgreSQL", _switch_over, 2),
}
