"""IPv6 in the lab's world: who reaches whom, and how that is cut and delayed.

Hosts are bare network namespaces here, cabled as booted ones are; a relay's own script takes their
addresses and asks the router for the way out.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pytest

from lab.world import addresses, cleanup, distance, network, services, sites
from lab.world.command import inside, ip, run, until
from lab.world.model import Cut, Group, Model, Network, Part, Rule, to_json
from lab.world.state import State, write_json
from tests import stacks
from tests.lab.pair import network as plain_network

FRONT, BACK, RANGE = "2001:db8:99::10", "2001:db8:99::11", "2001:db8:99::/64"
LAPTOP: Final = "laptop"
_SCRIPT: Final = stacks.REPOSITORY / "roles/relay/usr/local/sbin/mesh-ipv6"
_CONNECT: Final = "import socket; socket.create_connection(({address!r}, {port}), {within}).close()"
_SETTLED: Final = 1.0  # seconds after which a packet that did not arrive was dropped
_CONNECTED: Final = 15.0  # how long an allowed connection may take on a loaded machine
_TIMED: Final = (
    "import socket, time; began = time.monotonic();"
    " socket.create_connection(({address!r}, 22), 15).close(); print(time.monotonic() - began)"
)
_LISTEN: Final = """
import socket, threading

def serve(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    if port == 9000:
        print("ready", flush=True)
    while True:
        server.accept()[0].close()

for port in (22, 9000):
    threading.Thread(target=serve, args=(port,)).start()
"""


def declared(*, opened: bool = True, peer: str = "::/0") -> Network:
    """front and back with IPv6, where both let in SSH from `peer`; front's address is open to
    everyone if `opened`, back's is good for inside only.
    """
    base = plain_network()
    front, back = base.attachments
    ssh = Rule(direction="in", protocol="tcp", ports=(22, 22), peer=peer)
    out = Rule(direction="out", peer="::/0")
    return replace(
        base,
        subnets=(replace(base.subnets[0], ipv6=RANGE),),
        groups=tuple(Group(id=group.id, rules=(*group.rules, ssh, out)) for group in base.groups),
        attachments=(
            replace(front, ipv6=FRONT, ipv6_open=opened),
            replace(back, ipv6=BACK),
        ),
    )


@dataclass(frozen=True)
class Wires:
    """A world of cables and routers, with three hosts: front, back, and a laptop at home."""

    state: State
    home: Part
    laptop: str  # its IPv6 address

    def declare(self, found: Network, *cuts: Cut) -> Model:
        """Make it so, instead of what was."""
        parts = {"test": Part(networks=(found,)), sites.OWNER: self.home, "cuts": Part(cuts=cuts)}
        model = Model(parts)
        with self.state.lock():
            network.apply(self.state, model)
            write_json(self.state.model, to_json(model))
        return model

    def namespace(self, host: str) -> str:
        """Where a host is; "operator" is the workstation outside."""
        kind = ("operator",) if host == "operator" else ("host", host)
        return self.state.namespace(*kind)

    def run(self, host: str, *line: str, check: bool = True) -> str:
        """What a program says in a host's place."""
        return run(inside(self.namespace(host), line), check=check, within=120).stdout

    def reaches(self, host: str, address: str, port: int = 22) -> bool:
        """Whether a TCP connection comes about that is allowed to."""
        return self._connects(host, address, port, _CONNECTED)

    def is_dropped(self, host: str, address: str, port: int = 22) -> bool:
        """Whether none comes about within the settling time."""
        return not self._connects(host, address, port, _SETTLED)

    def _connects(self, host: str, address: str, port: int, within: float) -> bool:
        program = _CONNECT.format(address=address, port=port, within=within)
        line = inside(self.namespace(host), ["python3", "-c", program])
        return run(line, check=False).status == 0

    def plug(self, model: Model, host: str) -> None:
        """Cable a host, and give it what its cloud's image would."""
        place = model.place(host)
        assert place is not None
        found, own = place
        namespace = network.plug(self.state, found, own)
        card, gateway = own.interface, found.subnet(own.subnet).gateway
        ip(
            namespace,
            f"link set {card} up",
            f"addr add {own.address}/24 dev {card}",
            f"route add default via {gateway}",
        )
        self.run(host, "sh", str(_SCRIPT), str(own.ipv6))
        until(
            lambda: "via fe80:" in self.run(host, "ip", "-6", "route", "show", "default"),
            within=60,
            what=f"an answer of the router of {host}",
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    state = State((tmp_path_factory.mktemp("wires") / "state").resolve())
    servers: list[subprocess.Popen[bytes]] = []
    try:
        yield _build(state, servers)
    finally:
        for server in servers:
            server.kill()
            server.wait()
        cleanup.remove(state)
        cleanup.forget(state)


def _build(state: State, servers: list[subprocess.Popen[bytes]]) -> Wires:
    state.root.mkdir(parents=True)
    with state.lock():
        network.found(state)
    write_json(state.model, {})
    services.start(state, "routers")
    home = sites.add(Model(), LAPTOP, ipv6=True)
    (laptop,) = home.networks[0].attachments
    wires = Wires(state, home, str(laptop.ipv6))
    model = wires.declare(declared())
    for host in ("front", "back", LAPTOP):
        wires.plug(model, host)
    for host in ("front", "back"):
        line = inside(wires.namespace(host), ["python3", "-c", _LISTEN])
        server = subprocess.Popen(line, stdout=subprocess.PIPE)
        servers.append(server)
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    return wires


def test_an_open_address_is_reached_from_everywhere_on_the_ports_of_its_rules(
    world: Wires,
) -> None:
    world.declare(declared())

    assert world.reaches("operator", FRONT)
    assert world.reaches(LAPTOP, FRONT)
    assert world.reaches("front", FRONT, 9000), "somebody listens"
    assert world.is_dropped("operator", FRONT, 9000)
    assert world.is_dropped("operator", BACK), "it is good for inside only"


def test_a_closed_address_is_reached_from_its_own_network_only(world: Wires) -> None:
    world.declare(declared(opened=False))

    assert world.reaches("back", FRONT)
    assert world.is_dropped("operator", FRONT)


def test_a_rule_keeps_out_whom_it_does_not_name(world: Wires) -> None:
    world.declare(declared(peer=f"{addresses.OPERATOR6}/128"))

    assert world.reaches("operator", FRONT)
    assert world.is_dropped("back", FRONT)


def test_a_host_at_home_is_not_reached(world: Wires) -> None:
    world.declare(declared())

    assert world.reaches(LAPTOP, FRONT)
    assert world.is_dropped("front", world.laptop)


def test_a_cut_drops_both_families(world: Wires) -> None:
    world.declare(declared(), Cut(hosts=("front", "back")))

    assert world.is_dropped("back", FRONT)
    assert world.is_dropped("front", "10.0.1.11")
    assert world.reaches("operator", FRONT)


def test_packets_are_late_where_hosts_are_placed_apart(world: Wires) -> None:
    model = world.declare(declared())
    program = _TIMED.format(address=FRONT)
    try:
        with world.state.lock():
            distance.apply(world.state, model, {(LAPTOP, "front"): 40})
        far = float(world.run(LAPTOP, "python3", "-c", program))
    finally:
        with world.state.lock():
            distance.apply(world.state, model, {})

    assert far > 0.080


def test_a_host_without_power_is_silent_and_has_its_way_again_afterwards(world: Wires) -> None:
    model = world.declare(declared())
    place = model.place("back")
    assert place is not None
    network.silence(world.state, "test", "back", place[1].address)

    assert world.is_dropped("front", BACK)
    world.plug(model, "back")
    gone = world.run("front", "python3", "-c", _REFUSED.format(address=BACK))
    assert gone.strip() == "refused", "its namespace is new, and nobody listens there"


_REFUSED: Final = """
import socket
try:
    socket.create_connection(({address!r}, 22), 15)
except ConnectionRefusedError:
    print("refused")
"""


def test_a_port_that_is_redirected_is_reached_over_ipv6(world: Wires) -> None:
    """As the port of an HTTP-01 challenge is: mesh-certificate."""
    port80 = Rule(direction="in", protocol="tcp", ports=(80, 80), peer="::/0")
    found = declared()
    groups = tuple(replace(group, rules=(*group.rules, port80)) for group in found.groups)
    world.declare(replace(found, groups=groups))
    rules = "table inet challenge { chain prerouting { type nat hook prerouting priority dstnat;"
    rules += " tcp dport 80 redirect to :9000; }; }\n"
    run(inside(world.namespace("front"), ["nft", "-f", "-"]), stdin=rules)

    try:
        assert world.reaches("operator", FRONT, 80)
        assert world.is_dropped("operator", FRONT, 9000)
    finally:
        world.run("front", "nft", "delete", "table", "inet", "challenge")
