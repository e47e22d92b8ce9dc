"""One lab's world: start it, declare what is in it, use it, stop it.

world = World.start(Path(".lab"))
world.declare("me", Part(networks=(...,)))
world.create_host(HostSpec(name="hs-1", user_data=b"#cloud-config\\n"))
world.host("hs-1").exec(["uptime"])
world.stop()
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lab import image
from lab.world import (
    addresses,
    cleanup,
    distance,
    limits,
    mounts,
    network,
    publish,
    services,
    sites,
)
from lab.world import host as machines
from lab.world.authority import authority
from lab.world.errors import WorldError
from lab.world.host import Host, HostSpec
from lab.world.model import EVERYONE, Cut, Model, Part, from_json, to_json
from lab.world.services import acme
from lab.world.state import DEFAULT, State, read_json, write_json
from lab.world.workstation import Operator

_TOOLS: Final = {  # and the Debian package of each
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "losetup": "mount",
    "setpriv": "util-linux",
    "sysctl": "procps",
}
_CUTS: Final = "cuts"
Report = Callable[[str], None]


@dataclass(frozen=True)
class World:
    """A running world. Every change is safe against others at the same time, in any process."""

    state: State

    @classmethod
    def open(cls, folder: Path = DEFAULT) -> World:
        """The world that runs from a folder; WorldError when none does."""
        state = State(folder.resolve())
        if not state.world.exists():
            raise WorldError(f"no world runs from {folder}", "python -m lab start")
        return cls(state)

    @classmethod
    def start(
        cls,
        folder: Path = DEFAULT,
        golden: tuple[str, ...] = (),
        report: Report = lambda _: None,
        acme_validity: int = acme.VALIDITY_SECONDS,
    ) -> World:
        """A new, empty world. An earlier one in the folder is removed first with all the folder
        holds; the image is built when it is not in the cache, `golden` packages baked in.
        `acme_validity` is how many seconds a certificate of the ACME server is valid.
        """
        _demand_tools()
        world = cls(State(folder.resolve()))
        if not cleanup.is_ours(world.state):
            raise WorldError(f"{folder} is in use by something else", "choose an empty folder")
        if world.state.world.exists():
            report("removing what an earlier run left")
            world.stop()
        limits.raise_limit()
        tree = image.ensure(golden, report)
        try:
            with world.state.lock():
                world._found(tree, report, acme_validity)
        except BaseException:
            cleanup.remove(world.state)  # but not its folder: the logs tell why
            raise
        return world

    def _found(self, tree: Path, report: Report, acme_validity: int) -> None:
        report("building the network")
        ca = authority().certificate
        facts = {
            "operator_namespace": str(self.operator.namespace),
            "resolver": addresses.NAMESERVER,
            "ca": str(ca),
            "image": str(tree),
            "prefix": self.state.prefix,
            "acme_validity": acme_validity,
        }
        write_json(self.state.world, facts)  # first: what it promises is cleaned up by it
        network.found(self.state)
        self.operator.prepare(ca)
        publish.publish(self.state, Model())
        for name in services.wanted():
            report(f"starting the {name}")
            services.start(self.state, name)

    def stop(self) -> None:
        """Remove everything; WorldError naming what is left, if anything is."""
        complaints = cleanup.remove(self.state)
        if not mounts.mounted(self.state.root):
            cleanup.forget(self.state)
        if found := cleanup.leftovers(self.state):
            raise WorldError("left behind:\n" + "\n".join(found), "\n".join(complaints))

    # What is in it

    def facts(self) -> dict[str, Any]:
        """world.json."""
        found: dict[str, Any] = read_json(self.state.world)
        return found

    def status(self) -> dict[str, Any]:
        """Hosts and services as plain data."""
        hosts = [self._describe(host) for host in self.hosts()]
        running = {name: services.running(self.state, name) for name in services.wanted()}
        return {"hosts": hosts, "services": running, **self.facts()}

    def _describe(self, host: Host) -> dict[str, Any]:
        facts, found = host.facts(), self.model().place(host.name)
        return {
            "name": host.name,
            "network": facts["network"],
            "address": facts["address"],
            "public": found[1].public if found else None,
            "state": "running" if host.running() else "off",
            "console": str(host.console),
        }

    def model(self) -> Model:
        """Everything that is declared."""
        return from_json(read_json(self.state.model, {}))

    def declare(self, owner: str, part: Part) -> None:
        """Replace what an owner declares and make it so. Hosts are created and removed apart:
        create a host after its place is declared, remove it before its place goes.
        """
        self.change(owner, lambda _: part)

    def change(self, owner: str, function: Callable[[Model], Part]) -> Model:
        """Replace what an owner declares by what the function makes of the model; the new
        model.
        """
        with self.state.lock():
            before = self.model()
            model = Model({**before.parts, owner: function(before)})
            network.apply(self.state, model)
            publish.publish(self.state, model)
            write_json(self.state.model, to_json(model))
        return model

    # Hosts

    @property
    def operator(self) -> Operator:
        """The operator's workstation."""
        return Operator(self.state)

    def hosts(self) -> list[Host]:
        """Every host, by name."""
        return machines.every(self.state)

    def host(self, name: str) -> Host:
        """The host of that name, or else the newest that people call so; WorldError when there
        is none.
        """
        found = Host(self.state, name)
        if not found.exists():
            called = [known for known in self.hosts() if known.facts()["label"] == name]
            found = max(called, key=Host.made_at, default=found)
        found.facts()
        return found

    def place(self, name: str) -> network.Place:
        """A host's network and its place there; WorldError when it is declared nowhere."""
        found = self.model().place(name)
        if found is None:
            raise WorldError(f"host {name} has no place in any network")
        return found

    def create_host(self, spec: HostSpec, within: float = machines.BOOT_SECONDS) -> Host:
        """Build and boot a host whose place is declared; HostError as `Host.start`."""
        return machines.create(self.state, spec, Path(self.facts()["image"]), within)

    def add_host(
        self,
        spec: HostSpec,
        site: str = sites.DEFAULT,
        *,
        public: bool = False,
        ipv6: bool = False,
        within: float = machines.BOOT_SECONDS,
    ) -> Host:
        """A host outside any cloud, at a site of that name; as `create_host`."""
        self.change(
            sites.OWNER,
            lambda model: sites.add(model, spec.name, site, public=public, ipv6=ipv6),
        )
        return self.create_host(spec, within)

    def remove_host(self, name: str) -> None:
        """Remove a host that `add_host` made."""
        Host(self.state, name).remove()
        self.change(sites.OWNER, lambda model: sites.remove(model, name))

    # Faults

    def cut(self, *cuts: Cut) -> None:
        """Drop traffic between hosts from now on, established connections too. A cut replaces
        an earlier one between the same two.
        """
        new = tuple(replace(cut, hosts=self._ends(*cut.hosts)) for cut in cuts)
        self.change(_CUTS, lambda model: Part(cuts=(*_others(model, *new), *new)))

    def heal(self, one: str, other: str) -> None:
        """Undo the cut between two hosts."""
        cut = Cut(hosts=self._ends(one, other))
        self.change(_CUTS, lambda model: Part(cuts=_others(model, cut)))

    def heal_all(self) -> None:
        """Undo every cut."""
        self.change(_CUTS, lambda _: Part())

    def place_apart(self, pairs: Mapping[tuple[str, str], float]) -> None:
        """Packets between two hosts take so many milliseconds each way, from now on; hosts that
        are in no pair are next to each other again. For few packets, not for throughput.
        """
        with self.state.lock():
            distance.apply(self.state, self.model(), pairs)

    def _ends(self, *names: str) -> tuple[str, str]:
        one, other = (name if name == EVERYONE else self.host(name).name for name in names)
        return one, other


def _demand_tools() -> None:
    if os.geteuid() != 0:
        raise WorldError("booting hosts needs root", "or start with --api-only")
    missing = sorted({pkg for tool, pkg in _TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise WorldError("this machine lacks programs", f"apt-get install {' '.join(missing)}")


def _others(model: Model, *cuts: Cut) -> tuple[Cut, ...]:
    part, ends = model.parts.get(_CUTS, Part()), [{*cut.hosts} for cut in cuts]
    return tuple(known for known in part.cuts if {*known.hosts} not in ends)
