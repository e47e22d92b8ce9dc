"""Hosts: a Debian tree, its user-data and its disks, booted by systemd-nspawn.

A host survives the process that created it. Everything about it is in its folder:

    host.json    what it is       disks/    data disks, one sparse file each
    upper/       its root disk    root/     the running tree (image below, upper above)
    console.log  all it printed   runner.json  the process that runs it
"""

from __future__ import annotations

import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lab.world import cgroup, disk, guest, mounts, netns, network, nspawn, process
from lab.world.command import Done, run, until
from lab.world.errors import DeadlineError, HostError, WorldError
from lab.world.model import Model, from_json
from lab.world.process import Process
from lab.world.seed import Seed
from lab.world.state import State, read_json, write_json, write_text

BOOT_SECONDS: Final = 120
KILL_SECONDS: Final = 30
CONSOLE_LINES: Final = 30
_ENVIRONMENT: Final = {
    **nspawn.ENVIRONMENT,
    "PYTHONPATH": str(Path(__file__).resolve().parents[2]),  # for the runner, after a reboot
}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")  # it names namespaces and machines too
_TERMINAL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bM")  # colours, movements
# What tells nothing about a failure: systemd's moving "[***  ]", cloud-init's tables of
# addresses, a complaint of nspawn at each end of a host.
_NOISE: Final = re.compile(r"^\[[ *]+\]|ci-info: [+|]|^Attempted to remove disk file system")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A data disk; `device` is its name in the host, such as "vdb" or "nvme1n1".

    It is made with the host and goes with it, `gigabytes` large, unless `file` names a volume
    that exists apart from the host.
    """

    id: str
    device: str
    gigabytes: int = 0
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """What to build. Its network place is declared in the model beforehand, under `name`."""

    name: str
    label: str = ""  # what people call it, where `name` had to differ; `name` when empty
    user_data: bytes = b""
    public_keys: tuple[str, ...] = ()
    hostname: str = ""  # `name` when empty
    instance_id: str = ""  # `name` when empty
    login: str = "debian"
    disks: tuple[Disk, ...] = ()


@dataclass(frozen=True)
class Host:
    """One host of a world, running or not."""

    state: State
    name: str

    # What it is

    @property
    def folder(self) -> Path:
        return self.state.hosts / self.name

    @property
    def console(self) -> Path:
        """Everything the host printed on its console, over all its boots."""
        return self.folder / "console.log"

    @property
    def group(self) -> str:
        """Its control group."""
        return f"{self.state.prefix}/{self.name}"

    def exists(self) -> bool:
        return (self.folder / "host.json").exists()

    def facts(self) -> dict[str, Any]:
        """Its description; WorldError when there is no such host."""
        found: dict[str, Any] | None = read_json(self.folder / "host.json")
        if found is None:
            raise WorldError(f"there is no host {self.name}", "python -m lab status lists them")
        return found

    def booted(self) -> bool:
        """Whether it ever answered."""
        return bool(self.facts().get("booted"))

    @property
    def address(self) -> str:
        """Its private address."""
        return str(self.facts()["address"])

    def made_at(self) -> float:
        """When it was created, in seconds since the epoch."""
        return float(self.facts()["made_at"])

    def disks(self) -> tuple[Disk, ...]:
        return tuple(Disk(**entry) for entry in self.facts()["disks"])

    def running(self) -> bool:
        """Whether its power is on; the system in it may still be starting."""
        runner = process.recorded(self.folder / "runner.json")
        return runner is not None and runner.alive()

    def supervisor(self) -> Process | None:
        """The systemd-nspawn that runs it; none for a moment while it reboots."""
        runner = process.recorded(self.folder / "runner.json")
        return next(map(process.current, runner.children()), None) if runner else None

    def leader(self) -> int | None:
        """Its PID 1 as this machine numbers it; None when there is none."""
        supervisor, own = self.supervisor(), process.namespace_of(1, "pid")
        for child in supervisor.children() if supervisor else []:
            if process.namespace_of(child, "pid") not in {None, own}:
                return child
        return None

    def last_lines(self, count: int = CONSOLE_LINES) -> str:
        """The end of its console, without colours, blank lines and noise."""
        try:
            text = self.console.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return "(nothing)"
        lines = (line.strip() for line in _TERMINAL.sub("", text).splitlines())
        shown = [line for line in lines if line and not _NOISE.search(line)]
        return "\n".join(shown[-count:]) or "(nothing)"

    # Life

    def start(self, within: float = BOOT_SECONDS) -> None:
        """Power on; returns when port 22 answers. HostError, with the console's last lines,
        when it dies or does not answer `within` seconds.
        """
        if self.running():
            return
        mounts.overlay(Path(self.facts()["image"]), self.folder)
        cgroup.create(self.group)
        self.prepare_boot()
        again = [sys.executable, "-P", "-m", "lab.world.reboot", str(self.state.root), self.name]
        process.spawn(
            [str(guest.RUNNER), str(cgroup.path(self.group)), str(self.folder / "boot"), *again],
            record=self.folder / "runner.json",
            log=self.console,
            env=_ENVIRONMENT,
        )
        self._await_answer(within)
        self._remember(booted=True)

    def prepare_boot(self) -> None:
        """Give it a fresh network and write the script that boots it with today's disks."""
        namespace = network.plug(self.state, *self._place())
        line = nspawn.command(
            root=self.folder / "root",
            machine=self._machine,
            hostname=self.facts()["hostname"],
            namespace=namespace,
            devices=[(disk.attach(self._disk_file(d)), d.device) for d in self.disks()],
        )
        write_text(self.folder / "boot", f"exec {shlex.join(line)}\n")

    def power_off(self) -> None:
        """Cut the power: every process is killed at once, nothing is written any more. Peers
        hear nothing: the dying processes' farewells do not leave the host.
        """
        if self.exists():
            network.silence(self.state, self.facts()["network"], self.name, self.address)
        leader = self.leader()
        inside = process.namespace_of(leader, "pid") if leader else None
        cgroup.kill(self.group)
        if inside:  # also what entered from outside its group, such as `exec`
            until(
                lambda: not process.inhabitants("pid", {inside}),
                within=KILL_SECONDS,
                what=f"end of all processes of {self.name}",
            )
        self._clear()

    def stop(self, within: float = 60) -> None:
        """Shut down in order; the power is cut after `within` seconds."""
        if supervisor := self.supervisor():
            supervisor.end(signal.SIGTERM, within)  # nspawn asks its PID 1 to power off
        self.power_off()

    def reboot(self, within: float = BOOT_SECONDS) -> None:
        """Restart in order, from within; as `start`."""
        before = self.leader()
        self.exec(["systemctl", "reboot"])
        until(
            lambda: self.leader() not in {None, before},
            within=within,
            what=f"next boot of {self.name}",
        )
        self._await_answer(within)

    def remove(self) -> None:
        """Cut the power and forget everything, disks included; nothing happens when the host
        is gone.
        """
        self.power_off()
        mounts.remove_tree(self.folder)

    def attach_disk(self, new: Disk) -> None:
        """Add a data disk, to the running host too."""
        self._make_disk(new)
        self._remember(disks=[asdict(entry) for entry in (*self.disks(), new)])
        if leader := self.leader():
            number = disk.attach(self._disk_file(new)).removeprefix("/dev/loop")
            run(["mknod", f"/proc/{leader}/root/dev/{new.device}", "b", "7", number])

    def detach_disk(self, id: str) -> None:
        """Take a data disk away, as by force: where the host has it mounted, that ends too.

        The content goes, unless it is a volume apart.
        """
        for gone in (found for found in self.disks() if found.id == id):
            if self.leader():
                self.exec(["umount", "--all-targets", "--lazy", f"/dev/{gone.device}"], check=False)
                self.exec(["rm", "-f", f"/dev/{gone.device}"])
            disk.detach(self._disk_file(gone))
            if not gone.file:
                self._disk_file(gone).unlink(missing_ok=True)
        self._remember(disks=[asdict(found) for found in self.disks() if found.id != id])

    # Use

    def exec(
        self,
        line: Sequence[str],
        *,
        stdin: str | bytes = "",
        check: bool = True,
        within: float | None = 120,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Done:
        """Run a program as root in the host, without its network or sshd being asked."""
        return run(self.exec_line(line, env), stdin=stdin, check=check, within=within)

    def exec_line(
        self, line: Sequence[str], env: Mapping[str, str] = MappingProxyType({})
    ) -> list[str]:
        """The command line of this machine that runs `line` in the host."""
        leader = self.leader()
        if leader is None:
            raise WorldError(f"{self.name} is not running", f"its console: {self.console}")
        variables = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **env}
        settings = [f"{key}={value}" for key, value in variables.items()]
        return ["nsenter", f"--target={leader}", "--all", "env", "-i", *settings, *line]

    def wait_cloud_init(self, within: float = 300) -> None:
        """Return when cloud-init is done; HostError with its errors when it failed."""
        # First by systemd's word: cloud-init's own --wait asks four times a second.
        self.exec(["systemctl", "is-system-running", "--wait"], check=False, within=within)
        done = self.exec(["cloud-init", "status", "--wait", "--long"], check=False, within=within)
        if done.status != 0:
            log = self.exec(["tail", "-n", "30", "/var/log/cloud-init-output.log"], check=False)
            said = f"cloud-init: {' '.join(done.stdout.split())}\n{log.stdout}"
            raise HostError(self.name, said, self.last_lines())

    # Steps

    def _place(self) -> network.Place:
        model: Model = from_json(read_json(self.state.model, {}))
        place = model.place(self.name)
        if place is None:
            raise WorldError(f"host {self.name} has no place in any declared network")
        return place

    @property
    def _machine(self) -> str:
        return f"{self.state.prefix}-{self.name}"

    def _await_answer(self, within: float) -> None:
        """Asked from within: the host's own firewall may let nobody else in."""
        address, own = self.address, network.namespace_of(self.state, self.name)

        def answers() -> bool:
            if not self.running():
                raise HostError(self.name, "died while starting", self.last_lines())
            return _ssh_answers(own, address)

        try:
            until(answers, within=within, what="port 22", poll=0.1)
        except DeadlineError as error:
            reason = f"did not answer on port 22 within {within:g} s"
            raise HostError(self.name, reason, self.last_lines()) from error

    def _clear(self) -> None:
        """Give back what a running host holds of this machine."""
        if mounts.mounted(self.folder):
            nspawn.lock_file(self.folder / "root").unlink(missing_ok=True)
            mounts.release(self.folder)
        for known in self.disks() if self.exists() else ():
            disk.detach(self._disk_file(known))
        cgroup.remove(self.group)
        if self.exists():
            network.unplug(self.state, self.facts()["network"], self.name)
        nspawn.forget(self._machine)
        (self.folder / "runner.json").unlink(missing_ok=True)

    def _disk_file(self, wanted: Disk) -> Path:
        return Path(wanted.file or self.folder / "disks" / f"{wanted.id}.img")

    def _make_disk(self, new: Disk) -> None:
        if not new.file and not self._disk_file(new).exists():
            disk.create(self._disk_file(new), new.gigabytes)

    def _remember(self, **news: Any) -> None:
        write_json(self.folder / "host.json", self.facts() | news)


def create(state: State, spec: HostSpec, image: Path, within: float = BOOT_SECONDS) -> Host:
    """Build a host and boot it; as `Host.start`. A host that failed stays, for its console."""
    spec = replace(
        spec, hostname=spec.hostname or spec.name, instance_id=spec.instance_id or spec.name
    )
    if not _NAME.fullmatch(spec.name):
        raise WorldError(f"{spec.name!r} is no host name", "use up to 40 of a-z, 0-9 and -")
    host = Host(state, spec.name)
    if host.exists():
        raise WorldError(f"there is a host {spec.name} already")
    found, place = host._place()
    for new in spec.disks:
        host._make_disk(new)
    seed = Seed(
        user_data=spec.user_data,
        instance_id=spec.instance_id,
        hostname=spec.hostname,
        public_keys=spec.public_keys,
        login=spec.login,
        place=place,
        subnet=found.subnet(place.subnet),
    )
    seed.write(host.folder / "upper")
    facts = {
        "label": spec.label or spec.name,
        "image": str(image),
        "made_at": time.time(),
        "instance_id": spec.instance_id,
        "hostname": spec.hostname,
        "address": place.address,
        "network": found.id,
        "disks": [asdict(entry) for entry in spec.disks],
    }
    write_json(host.folder / "host.json", facts)
    host.start(within)
    return host


def every(state: State) -> list[Host]:
    """Every host of the world, by name."""
    if not state.hosts.is_dir():
        return []
    return [Host(state, path.name) for path in sorted(state.hosts.iterdir()) if path.is_dir()]


def _ssh_answers(namespace: str, address: str) -> bool:
    def ask() -> bool:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"

    try:
        return netns.call(namespace, ask)
    except OSError:  # no answer yet, or no namespace for a moment while it reboots
        return False
