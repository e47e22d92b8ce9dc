"""How faults are brought about and undone; the names of hosts are those of the topology."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from drills.mesh import Mesh
from drills.probes import Probes
from drills.servers import program, state
from drills.stutter import Stutter
from lab.world import cgroup
from lab.world.command import until
from lab.world.host import Host
from lab.world.model import EVERYONE, Cut

ETCD_PORTS: Final = (2379, 2380)
ARBITER: Final = "mesh-arbiter.service"
POSTGRES_PORTS: Final = (5432, 8008)
FILLER: Final = "/var/lib/postgresql/drill-filler"
LONELY_SECONDS: Final = 60.0  # Patroni takes 5 to 10 s to let a lost standby go
CALM: Final = 2.0
_LONELY: Final = 10  # acknowledged writes
_STAY_DEAD: Final = "/run/systemd/system/etcd.service.d/drill.conf"
_NO_RESTART: Final = "[Service]\nRestart=no\n"
_FILL: Final = (
    f"fallocate -l $(( $(stat -f -c %f /var/lib/postgresql) * 4096 )) {FILLER} || true; "
    f"dd if=/dev/zero of={FILLER}.rest bs=4096 count=4000000 status=none || true; sync {FILLER}"
)


@dataclass
class Target:
    """Who is what when the fault comes, and what the fault leaves for its heal."""

    mesh: Mesh
    probes: Probes
    active: str
    standby: str
    primary: str
    replica: str
    pids: list[int] = field(default_factory=list)  # stopped by a signal
    woken: int = 0  # of those, how many lived to go on
    stutters: list[Stutter] = field(default_factory=list)

    @property
    def other_voters(self) -> tuple[str, ...]:
        """The voters that are not on the primary's host."""
        return tuple(name for name in self.mesh.voters if name != self.primary)


# Power and network


def power_off(target: Target, *names: str) -> None:
    """All at once."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: target.mesh.host(name).power_off(), names))


def power_on(target: Target, *names: str) -> None:
    """Returns when all answer."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: target.mesh.host(name).start(), names))


def cut(target: Target, one: str, others: Sequence[str], ports: tuple[int, ...] = ()) -> None:
    """Cut a host from others, on some TCP ports or wholly."""
    mesh = target.mesh
    mesh.world.cut(
        *(
            Cut(
                hosts=(mesh.host(one).name, mesh.host(name).name),
                protocol="tcp" if ports else None,
                ports=ports,
            )
            for name in others
        )
    )


def isolate(target: Target, *names: str) -> None:
    """Cut hosts from everyone."""
    mesh = target.mesh
    mesh.world.cut(*(Cut(hosts=(mesh.host(name).name, EVERYONE)) for name in names))


def heal_network(target: Target) -> None:
    """Undo every cut."""
    target.mesh.world.heal_all()


# Processes


def kill_servers(target: Target) -> None:
    """SIGKILL to Headscale on the active host."""
    for pid in target.probes.servers.pids(target.active):
        os.kill(pid, signal.SIGKILL)


def freeze(target: Target, pids: Sequence[int]) -> None:
    """SIGSTOP."""
    target.pids += pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def thaw(target: Target) -> None:
    """SIGCONT to all that `freeze` stopped and that still is."""
    for pid in target.pids:
        with contextlib.suppress(ProcessLookupError):  # its guard or systemd killed it
            os.kill(pid, signal.SIGCONT)
            target.woken += 1


def slow_down(target: Target, name: str) -> None:
    """Everything on a host runs a tenth of the time from now on; its kernel answers as ever."""
    target.stutters.append(Stutter(target.mesh.host(name).group))


def speed_up(target: Target) -> None:
    """What was slow is not any more."""
    for stutter in target.stutters:
        stutter.end()


def guard_pids(target: Target) -> list[int]:
    """The guard's process on the active host; its server is not among them."""
    servers = target.probes.servers.pids(target.active)
    pids = unit_pids(target, target.active, "mesh-guard.service")
    return [pid for pid in pids if pid not in servers]


def patroni_pids(target: Target) -> list[int]:
    """Patroni on the primary; PostgreSQL, its child, is not among them."""
    pids = unit_pids(target, target.primary, "patroni.service")
    return [pid for pid in pids if program(pid) not in ("postgres", None)]


def unit_pids(target: Target, name: str, unit: str) -> list[int]:
    """The processes of a unit on a host."""
    group = f"{target.mesh.host(name).group}/machine/payload/system.slice"
    return list(cgroup.pids(f"{group}/{unit}"))


def systemctl(target: Target, name: str, *words: str) -> None:
    """`systemctl WORDS` on a host."""
    target.mesh.host(name).exec(["systemctl", *words])


def kill_voters(target: Target, *names: str) -> None:
    """SIGKILL to etcd, and systemd does not start it again."""
    for name in names:
        host = target.mesh.host(name)
        host.exec(["install", "-D", "-m", "644", "/dev/stdin", _STAY_DEAD], stdin=_NO_RESTART)
        systemctl(target, name, "daemon-reload")
    with ThreadPoolExecutor() as pool:
        kill = ("kill", "--signal=KILL", "etcd.service")
        list(pool.map(lambda name: systemctl(target, name, *kill), names))


def revive_voters(target: Target, *names: str) -> None:
    """Let etcd run again."""
    for name in names:
        start_again(target.mesh.host(name), "etcd.service")


def kill_postmaster(target: Target) -> None:
    """SIGKILL to PostgreSQL's first process on the primary."""
    line = "kill -9 $(head -n1 /var/lib/postgresql/*/mesh/postmaster.pid)"
    target.mesh.host(target.primary).exec(["sh", "-c", line])


def await_lonely_writes(target: Target) -> None:
    """Return when the primary acknowledges writes that its standby does not have."""
    session, writers = target.probes.sessions[target.primary], target.probes.writers
    began = time.monotonic()

    def lonely() -> bool:
        # A write may hang until Patroni lets the standby go; one of before may end meanwhile.
        alone = max([look.at for look in session.looks if look.sync], default=began)
        times = writers.acknowledged(alone + CALM)
        return bool(session.last.primary) and not session.last.sync and len(times) > _LONELY

    until(lonely, within=LONELY_SECONDS, what="writes without the standby", poll=0.2)


def fill_disk(target: Target) -> None:
    """No byte is left on the primary's data disk, root's reserve included."""
    target.mesh.host(target.primary).exec(["sh", "-c", _FILL])


def empty_disk(target: Target) -> None:
    """Give the room back."""
    _remove_filler(target.mesh.host(target.primary))


def _remove_filler(host: Host) -> None:
    host.exec(["rm", "-f", FILLER, f"{FILLER}.rest"])


def switch_over(target: Target) -> None:
    """The planned change of the primary."""
    ends = ["--leader", target.primary, "--candidate", target.replica]
    target.mesh.host(target.primary).exec(["patronictl", "switchover", *ends, "--force"])


def restore(mesh: Mesh, *, guarded: bool = True) -> None:
    """Undo whatever an interrupted drill left; guards are started unless the baseline runs."""
    mesh.world.heal_all()
    names = (*mesh.controls, *mesh.voters)
    for name in names:
        mesh.host(name).start()
    for pid in (pid for name in names for pid in _stopped(mesh.host(name))):
        with contextlib.suppress(ProcessLookupError):  # somebody killed it
            os.kill(pid, signal.SIGCONT)
    for name in mesh.voters:
        start_again(mesh.host(name), "etcd.service")
    for name in mesh.databases:
        _remove_filler(mesh.host(name))
        start_again(mesh.host(name), "patroni.service")
    for name in mesh.controls if guarded else ():
        start_again(mesh.host(name), "mesh-guard.service")


def _stopped(host: Host) -> list[int]:
    return [pid for pid in cgroup.pids(host.group) if (state(pid) or "") == "T"]


def start_again(host: Host, unit: str) -> None:
    """Run a unit that may be failed, told to stay dead, or running."""
    host.exec(["rm", "-f", _STAY_DEAD])
    host.exec(["systemctl", "daemon-reload"])
    host.exec(["systemctl", "reset-failed", unit], check=False)  # it may be loaded not at all
    host.exec(["systemctl", "start", unit])
