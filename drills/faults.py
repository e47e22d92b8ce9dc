"""The faults, as data: what each aims at, how it is brought about and undone, what is promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from drills import actions
from drills.actions import Target

Step = Callable[[Target], None]
Names = Callable[[Target], tuple[str, ...]]
CLIENTS: Final = "clients_back_s"
WRITES: Final = "writes_back_s"
GAP: Final = "writes_gap_s"


def _nothing(_: Target) -> None:
    pass


def _nobody(_: Target) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of drill. `goals` are seconds for p95, by field of the record."""

    title: str
    inject: Step
    heal: Step = _nothing
    silent: Names = _nobody  # hosts that peers hear nothing of, not even a farewell
    holds: float = 8.0  # s; it lasts at least so long, so that late effects are seen
    returns: bool = True  # the mesh serves again while the fault lasts
    for_arbiter: bool = False  # only where there is one
    arbitrated: bool = False  # the arbiter may, and should, take the primary's key away
    goals: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def _active(target: Target) -> tuple[str, ...]:
    return (target.active,)


def _primary(target: Target) -> tuple[str, ...]:
    return (target.primary,)


def _zone(target: Target) -> tuple[str, ...]:
    return (target.active, target.mesh.zone_partner(target.active))


def _ops(target: Target) -> tuple[str, ...]:
    return target.mesh.names("ops")


def _power_loss(title: str, names: Names, holds: float, **goals: float) -> Fault:
    return Fault(
        title=title,
        inject=lambda target: actions.power_off(target, *names(target)),
        heal=lambda target: actions.power_on(target, *names(target)),
        silent=names,
        holds=holds,
        goals=goals,
    )


def _cut_off(title: str, names: Names, holds: float, **goals: float) -> Fault:
    return Fault(
        title=title,
        inject=lambda target: actions.isolate(target, *names(target)),
        heal=actions.heal_network,
        silent=names,
        holds=holds,
        goals=goals,
    )


def _arbitrated(fault: Fault) -> Fault:
    return replace(fault, arbitrated=True)


def _lose_primary_out_of_sync(target: Target) -> None:
    """The standby comes back as the primary goes: it lacks acknowledged writes."""
    actions.isolate(target, target.replica)
    actions.await_lonely_writes(target)
    actions.power_off(target, target.primary)
    actions.heal_network(target)


def _freeze_arbiter_and_lose_primary(target: Target) -> None:
    actions.freeze(target, actions.unit_pids(target, _ops(target)[0], actions.ARBITER))
    actions.power_off(target, target.primary)


def _power_on_and_thaw(target: Target) -> None:
    actions.power_on(target, target.primary)
    actions.thaw(target)


def _voter_lost(target: Target) -> tuple[str, ...]:
    return target.other_voters[:1]


FAULTS: Final[Mapping[str, Fault]] = {
    "server-killed": Fault(
        title="Headscale killed (SIGKILL)",
        inject=actions.kill_servers,
        goals={CLIENTS: 4},
    ),
    "guard-stopped": Fault(
        title="planned hand-over: the active guard is stopped",
        inject=lambda t: actions.systemctl(t, t.active, "stop", "mesh-guard.service"),
        heal=lambda t: actions.systemctl(t, t.active, "start", "mesh-guard.service"),
        goals={GAP: 3},
    ),
    "control-shutdown": Fault(
        title="the active control host is shut down in order",
        inject=lambda t: t.mesh.host(t.active).stop(),
        heal=lambda t: actions.power_on(t, t.active),
        silent=_active,
        goals={CLIENTS: 10},
    ),
    "control-power": _power_loss(
        "the active control host loses power", _active, 12, **{CLIENTS: 10}
    ),
    "standby-power": _power_loss("the other control host loses power", lambda t: (t.standby,), 12),
    "control-cut": _cut_off(
        "the active control host is cut from everyone", _active, 15, **{CLIENTS: 12}
    ),
    "control-cut-etcd": Fault(
        title="the active control host is cut from etcd only",
        inject=lambda t: actions.cut(t, t.active, t.mesh.voters, actions.ETCD_PORTS),
        heal=actions.heal_network,
        holds=15,
        goals={CLIENTS: 12},
    ),
    "control-cut-postgres": Fault(
        title="the active control host is cut from PostgreSQL only",
        inject=lambda t: actions.cut(t, t.active, t.mesh.databases, actions.POSTGRES_PORTS),
        heal=actions.heal_network,
        holds=20,
    ),
    "guard-frozen": Fault(
        title="the active guard is frozen (SIGSTOP)",
        inject=lambda t: actions.freeze(t, actions.guard_pids(t)),
        heal=actions.thaw,
        holds=15,
    ),
    "server-frozen": Fault(
        title="Headscale is frozen (SIGSTOP)",
        inject=lambda t: actions.freeze(t, t.probes.servers.pids(t.active)),
        heal=actions.thaw,
        holds=15,
    ),
    "primary-killed": Fault(
        title="the PostgreSQL primary is killed (SIGKILL)",
        inject=actions.kill_postmaster,
        goals={WRITES: 4},
    ),
    "primary-power": _arbitrated(
        _power_loss("the primary's host loses power", _primary, 30, **{WRITES: 25})
    ),
    "primary-cut": _arbitrated(
        _cut_off("the primary's host is cut from everyone", _primary, 30, **{WRITES: 25})
    ),
    "primary-cut-ops": Fault(
        title="the primary's host is cut from the operations host only",
        inject=lambda t: actions.cut(t, t.primary, _ops(t)),
        heal=actions.heal_network,
        holds=30,
    ),
    "primary-out-of-sync": Fault(
        title="the standby is out of sync, then the primary's host loses power: no takeover",
        inject=_lose_primary_out_of_sync,
        heal=lambda t: actions.power_on(t, t.primary),
        silent=_primary,
        holds=60,  # of which up to 20 until the standby is let go, and then Patroni's ttl
        returns=False,
    ),
    "patroni-frozen": Fault(
        title="the primary's Patroni is frozen (SIGSTOP)",
        inject=lambda t: actions.freeze(t, actions.patroni_pids(t)),
        heal=actions.thaw,
        holds=30,
    ),
    "primary-slow": Fault(
        title="everything on the primary's host runs a tenth of the time",
        inject=lambda t: actions.slow_down(t, t.primary),
        heal=actions.speed_up,
        holds=30,
        returns=False,  # it may serve, or lose its lease
    ),
    "primary-cut-etcd": Fault(
        title="the primary's host is cut from the other etcd voters",
        inject=lambda t: actions.cut(t, t.primary, t.other_voters, actions.ETCD_PORTS),
        heal=actions.heal_network,
        holds=30,
    ),
    "primary-disk-full": Fault(
        title="the primary's data disk is full",
        inject=actions.fill_disk,
        heal=actions.empty_disk,
        holds=30,
        returns=False,
    ),
    "switchover": Fault(
        title="planned switchover of PostgreSQL",
        inject=actions.switch_over,
        goals={GAP: 2},
    ),
    "voter-lost": Fault(
        title="one etcd voter is killed and stays away",
        inject=lambda t: actions.kill_voters(t, *_voter_lost(t)),
        heal=lambda t: actions.revive_voters(t, *_voter_lost(t)),
        holds=15,
    ),
    "quorum-lost": Fault(
        title="two etcd voters are killed and stay away: no writes, the mesh forwards",
        inject=lambda t: actions.kill_voters(t, *t.other_voters),
        heal=lambda t: actions.revive_voters(t, *t.other_voters),
        holds=30,
        returns=False,
    ),
    "ops-power": _power_loss("the operations host loses power", _ops, 10),
    "ops-cut": _cut_off("the operations host is cut from everyone", _ops, 30),
    "arbiter-frozen": Fault(
        title="the arbiter is frozen (SIGSTOP), then the primary's host loses power",
        inject=_freeze_arbiter_and_lose_primary,
        heal=_power_on_and_thaw,
        silent=_primary,
        holds=28,  # at 30 s its watchdog ends it
        for_arbiter=True,
        goals={WRITES: 25},
    ),
    "zone-power": _arbitrated(_power_loss("the active control host's zone loses power", _zone, 30)),
}
ONLY_ON_REAL_HOSTS: Final[Mapping[str, str]] = {
    "a clock that jumps by 60 s": "the containers share one kernel clock, and etcd and Headscale "
    "are static Go programs, which no preloaded library can show another time",
    "true loss of unwritten data": "the page cache outlives a container's power",
    "a hardware watchdog": "containers have none",
}
