"""Networks of the lab's world: who reaches whom, under which address, and how that is cut."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from lab.world.host import Host, HostSpec
from lab.world.model import EVERYONE, Cut, Group, Network, Rule
from tests.lab.pair import FRONT_PUBLIC, NAT_PUBLIC, OWNER, TwoHosts, declaration, network

_CONNECT = "import socket; socket.create_connection(({address!r}, {port}), {within}).close()"
_SETTLED = 1.0  # seconds after which a packet that did not arrive was dropped
_ECHO = """
import socket
server = socket.create_server(("0.0.0.0", 9000))
while True:
    connection, peer = server.accept()
    connection.sendall(peer[0].encode())
    connection.close()
"""
_ASK = """
import socket
connection = socket.create_connection(({address!r}, 9000), 5)
print(connection.recv(64).decode())
"""


def reaches(host: Host, address: str, port: int) -> bool:
    """Whether a TCP connection comes about; False after the settling time."""
    program = _CONNECT.format(address=address, port=port, within=_SETTLED)
    return host.exec(["python3", "-c", program], check=False).status == 0


@contextmanager
def declared(two_hosts: TwoHosts, changed: Network) -> Iterator[None]:
    """Another network for a while."""
    two_hosts.world.declare(OWNER, declaration(changed))
    try:
        yield
    finally:
        two_hosts.world.declare(OWNER, declaration())


@pytest.fixture
def echo(two_hosts: TwoHosts) -> Iterator[None]:
    """A server on port 9000 of front that tells each client its address."""
    unit = ["systemd-run", "--quiet", "--unit=echo", "python3", "-c", _ECHO]
    two_hosts.front.exec(unit)
    probe = ["sh", "-c", "until ss -ltn | grep -q :9000; do sleep 0.05; done"]
    two_hosts.front.exec(probe, within=10)
    yield
    two_hosts.front.exec(["systemctl", "stop", "echo"])


def open_to(peer: str) -> Network:
    """The test network where port 9000 of front is open to `peer`."""
    base = network()
    rule = Rule(direction="in", protocol="tcp", ports=(9000, 9000), peer=peer)
    groups = [replace(g, rules=(*g.rules, rule)) if g.id == "outer" else g for g in base.groups]
    return replace(base, groups=tuple(groups))


def test_a_rule_lets_in_what_it_names(two_hosts: TwoHosts) -> None:
    assert reaches(two_hosts.front, "10.0.1.11", 22), "the inner group allows SSH from the outer"


def test_what_no_rule_names_is_refused_also_within_a_subnet(
    two_hosts: TwoHosts, echo: None
) -> None:
    assert not reaches(two_hosts.back, "10.0.1.10", 9000)


def test_a_rule_by_group_lets_in_its_members(two_hosts: TwoHosts, echo: None) -> None:
    with declared(two_hosts, open_to("group:inner")):
        assert reaches(two_hosts.back, "10.0.1.10", 9000)


def test_a_rule_that_is_taken_away_ends_at_once(two_hosts: TwoHosts, echo: None) -> None:
    with declared(two_hosts, open_to("0.0.0.0/0")):
        assert reaches(two_hosts.back, "10.0.1.10", 9000)

    assert not reaches(two_hosts.back, "10.0.1.10", 9000)


def test_a_refusal_of_equal_priority_wins(two_hosts: TwoHosts, echo: None) -> None:
    allowing = open_to("0.0.0.0/0")
    refusal = Rule(direction="in", protocol="tcp", ports=(9000, 9000), allow=False)
    groups = (*allowing.groups, Group(id="strict", rules=(refusal,)))
    front, back = allowing.attachments
    strict = replace(front, groups=("outer", "strict"))

    with declared(two_hosts, replace(allowing, groups=groups, attachments=(strict, back))):
        assert not reaches(two_hosts.back, "10.0.1.10", 9000)


def test_a_group_without_rules_lets_nothing_out(two_hosts: TwoHosts) -> None:
    base = network()
    front, back = base.attachments
    silent = replace(back, groups=("silent",))
    groups = (*base.groups, Group(id="silent"))

    with declared(two_hosts, replace(base, groups=groups, attachments=(front, silent))):
        assert not reaches(two_hosts.back, "10.0.1.10", 22)


def test_a_public_address_leads_to_its_host(two_hosts: TwoHosts) -> None:
    program = _CONNECT.format(address=FRONT_PUBLIC, port=22, within=5)

    two_hosts.world.operator.run(["python3", "-c", program])


def test_a_public_address_needs_a_subnet_with_a_way_to_the_internet(two_hosts: TwoHosts) -> None:
    program = _CONNECT.format(address=FRONT_PUBLIC, port=22, within=_SETTLED)

    with declared(two_hosts, network(direct=False, nat=None)):
        ended = two_hosts.world.operator.run(["python3", "-c", program], check=False)

    assert ended.status != 0


def test_a_host_without_public_address_comes_from_the_nat_gateway(
    two_hosts: TwoHosts, echo: None
) -> None:
    with declared(two_hosts, open_to(f"{NAT_PUBLIC}/32")):
        seen = two_hosts.back.exec(["python3", "-c", _ASK.format(address=FRONT_PUBLIC)])

    assert seen.stdout.strip() == NAT_PUBLIC


def test_a_host_without_any_way_out_stays_inside(two_hosts: TwoHosts) -> None:
    with declared(two_hosts, network(nat=None)):
        assert not reaches(two_hosts.back, FRONT_PUBLIC, 22)


def test_a_host_without_any_way_out_still_resolves_names(two_hosts: TwoHosts) -> None:
    with declared(two_hosts, network(nat=None)):
        found = two_hosts.back.exec(["getent", "hosts", "front.example"])

    assert found.stdout.split()[0] == FRONT_PUBLIC


def test_a_host_at_home_reaches_out_and_is_not_reached(two_hosts: TwoHosts) -> None:
    home = two_hosts.world.add_host(HostSpec(name="laptop"))
    nat = two_hosts.world.model().place("laptop")
    assert nat is not None

    assert reaches(home, FRONT_PUBLIC, 22)
    assert not reaches(two_hosts.front, str(nat[0].subnets[0].nat), 22)
    two_hosts.world.remove_host("laptop")


def test_a_cut_drops_established_connections(two_hosts: TwoHosts) -> None:
    program = (
        "import socket, sys\n"
        "c = socket.create_connection(('10.0.1.11', 22), 5)\n"
        "c.settimeout(2)\n"
        "c.recv(1024)\n"
        "print('up', flush=True)\n"
        "sys.stdin.readline()\n"
        "c.sendall(b'SSH-2.0-test\\r\\n')\n"
        "c.recv(4096)\n"
    )
    line = two_hosts.front.exec_line(["python3", "-c", program])

    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as talk:
        assert talk.stdin is not None and talk.stdout is not None
        assert talk.stdout.readline() == "up\n"
        two_hosts.world.cut(Cut(hosts=("front", "back")))
        talk.communicate("go\n")
    two_hosts.world.heal("front", "back")

    assert talk.returncode != 0, "the answer came although the hosts were cut from each other"


def test_a_cut_of_udp_leaves_tcp_alone(two_hosts: TwoHosts) -> None:
    two_hosts.world.cut(Cut(hosts=("front", "back"), protocol="udp", except_ports=(3478,)))
    still = reaches(two_hosts.front, "10.0.1.11", 22)
    two_hosts.world.heal("front", "back")

    assert still


def test_a_cut_of_ports_leaves_the_other_ports_alone(two_hosts: TwoHosts) -> None:
    two_hosts.world.cut(Cut(hosts=("front", "back"), protocol="tcp", ports=(9000,)))
    still = reaches(two_hosts.front, "10.0.1.11", 22)
    two_hosts.world.cut(Cut(hosts=("front", "back"), protocol="tcp", ports=(22,)))
    now = reaches(two_hosts.front, "10.0.1.11", 22)
    two_hosts.world.heal("front", "back")

    assert (still, now) == (True, False)


def test_a_host_cut_from_everyone_reaches_nobody(two_hosts: TwoHosts) -> None:
    two_hosts.world.cut(Cut(hosts=("back", EVERYONE)))
    found = [
        reaches(two_hosts.front, "10.0.1.11", 22),
        reaches(two_hosts.back, "10.0.1.10", 22),
        reaches(two_hosts.back, FRONT_PUBLIC, 22),
    ]
    two_hosts.world.heal_all()

    assert not any(found)
    assert reaches(two_hosts.back, "10.0.1.10", 22)


def test_a_healed_cut_leaves_nothing_behind(two_hosts: TwoHosts) -> None:
    two_hosts.world.cut(Cut(hosts=("front", "back")))
    two_hosts.world.heal("back", "front")

    assert reaches(two_hosts.front, "10.0.1.11", 22)


def test_hosts_that_are_placed_apart_hear_from_each_other_later(two_hosts: TwoHosts) -> None:
    program = (
        "import socket, time; began = time.monotonic();"
        f" socket.create_connection(({FRONT_PUBLIC!r}, 22), 5).close();"
        " print(time.monotonic() - began)"
    )
    world = two_hosts.world
    visitor = world.add_host(HostSpec(name="visitor", user_data=b"#cloud-config\n"))
    try:
        world.place_apart({("visitor", "front"): 40})
        far = float(visitor.exec(["python3", "-c", program]).stdout)
        world.place_apart({})
        near = float(visitor.exec(["python3", "-c", program]).stdout)
    finally:
        world.remove_host("visitor")

    assert far > 0.080 > near
