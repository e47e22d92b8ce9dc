"""`make lab`: the whole mesh on this machine, then two clients that reach each other."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from drills.client import Client
from drills.mesh import guard_status
from lab.engine import Engine
from lab.world import services
from lab.world.command import until
from lab.world.errors import WorldError
from lab.world.host import Host
from lab.world.model import Cut
from lab.world.world import World

STACK: Final = "lab"
SERVER: Final = "prod-web-bj-001"  # a tagged server, named by plan 3.3
DEVICE: Final = "ops-laptop-zhangsan"  # an operator's device
_REPOSITORY: Final = Path(__file__).parent.parent
_STUN: Final = 3478
_ANSWER_WITHIN: Final = 60.0  # s
_console: Final = Console(highlight=False, soft_wrap=True)


@dataclass
class Stopwatch:
    """Seconds that each part took, in their order."""

    laps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Times what runs inside, and says so."""
        start = time.monotonic()
        yield
        self.laps[name] = time.monotonic() - start
        _console.print(f"[dim]{name}: {self.laps[name]:.0f} s[/dim]")


def main() -> int:
    """Bring the lab up, or bring it up to date, and show it in use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".lab"))
    parser.add_argument("--golden", help="packages baked into the host image, for speed")
    options = parser.parse_args()
    watch = Stopwatch()
    with watch.lap("world"):
        world = running_world(options.state, tuple((options.golden or "").split(",")))
    engine = Engine(options.state, _REPOSITORY)
    engine.ensure_stack(STACK)
    with watch.lap("pulumi up"):
        if engine.stream("up", "--stack", STACK, "--yes", "--skip-preview", "--non-interactive"):
            return 1
    outputs = engine.stack_outputs(STACK, show_secrets=True)
    with watch.lap("two clients"):
        server, device = join_two(world, outputs)
    active = active_name(world, outputs)
    show_hosts(outputs, active)
    show_nodes(world.host(outputs["hosts"][active]["instance"]))
    show_pings(world, server, device)
    _console.print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in watch.laps.items()))
    return 0


def running_world(state: Path, golden: tuple[str, ...] = ()) -> World:
    """The world that runs from `state`, or a new one when none does or a service of it is dead."""
    try:
        world = World.open(state)
    except WorldError:
        world = None
    if world and all(services.running(world.state, name) for name in services.wanted()):
        return world
    packages = tuple(package for package in golden if package)
    return World.start(state, packages, lambda step: _console.print(f"[dim]{step}[/dim]"))


def join_two(world: World, outputs: dict[str, Any]) -> tuple[Client, Client]:
    """A tagged server and an operator's device, on the mesh; each is booted when missing."""
    wanted = ((SERVER, "prod-servers"), (DEVICE, "operator-device"))
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(_client, world, outputs, name, key) for name, key in wanted]
        server, device = (job.result() for job in jobs)
    return server, device


def _client(world: World, outputs: dict[str, Any], name: str, key: str) -> Client:
    known = {host.name for host in world.hosts()}
    if name in known:
        return Client(world.host(name))
    client = Client.boot(world, name)
    client.join(outputs["server_url"], outputs["keys"][key])
    return client


def show_hosts(outputs: dict[str, Any], active: str) -> None:
    """Who is where."""
    table = Table("host", "role", "cloud", "zone", "private", "reached at")
    for name, host in outputs["hosts"].items():
        role = f"{host['role']} (active)" if name == active else host["role"]
        table.add_row(
            name, role, host["cloud"], host["zone"], host["private_address"], host["address"]
        )
    _console.print(table)


def show_nodes(active: Host) -> None:
    """The mesh as Headscale sees it: `headscale nodes list`, as wide as the terminal."""
    listed = json.loads(active.exec(["headscale", "nodes", "list", "-o", "json"]).stdout)
    table = Table("node", "addresses", "of", "online")
    for node in listed:
        owner = ", ".join(node.get("tags") or []) or node["user"]["name"]
        online = "yes" if node.get("online") else "no"
        table.add_row(node["name"], ", ".join(node["ip_addresses"]), owner, online)
    _console.print(table)


def active_name(world: World, outputs: dict[str, Any], within: float = 60) -> str:
    """The control host that serves, once there is one, by its guard's word."""
    controls = {
        name: world.host(host["instance"])
        for name, host in outputs["hosts"].items()
        if host["role"] == "control"
    }
    found: list[str] = []

    def served() -> bool:
        found[:] = [name for name, host in controls.items() if serves(guard_status(host))]
        return bool(found)

    until(served, within=within, what="an active control host")
    return found[0]


def serves(status: dict[str, Any]) -> bool:
    """Whether a guard's host runs Headscale, and it answers."""
    return status.get("role") == "active" and bool(status.get("server_answers"))


def show_pings(world: World, server: Client, device: Client) -> None:
    """One ping over the direct path, one with direct UDP blocked; an exit when one is not so."""
    direct = await_direct(device, server)
    _console.print(f"direct:   {direct}")
    ends = (device.host.name, server.host.name)
    world.cut(Cut(hosts=ends, protocol="udp", except_ports=(_STUN,)))
    try:
        relayed = await_relay(device, server)
    finally:
        world.heal(*ends)
    _console.print(f"via DERP: {relayed}")
    if "pong" not in direct or "via DERP" in direct or "via DERP" not in relayed:
        sys.exit("the clients did not reach each other both ways")


def await_direct(device: Client, server: Client) -> str:
    """The last answer once a ping has got through; by the direct path when there is one."""
    return _await_ping(device, server, ["--c=20", "--until-direct=true"], "pong")


def await_relay(device: Client, server: Client) -> str:
    """The first ping answered through a relay; the client gives up a direct path only after a
    while. The last answer when none was."""
    words = ["--c=1", "--until-direct=false", "--timeout=3s"]
    return _await_ping(device, server, words, "via DERP")


def _await_ping(device: Client, server: Client, words: Sequence[str], answer: str) -> str:
    """The first answer that has these words: a client hears of a new peer only after a while. The
    last one after `_ANSWER_WITHIN`."""
    deadline = time.monotonic() + _ANSWER_WITHIN
    while True:
        said = device.ping(server, words)
        if answer in said or time.monotonic() > deadline:
            return said


if __name__ == "__main__":
    sys.exit(main())
