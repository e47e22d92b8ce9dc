"""IPv6 in the lab's world: who reaches whom, and how that is cut and delayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lab.world import addresses
from lab.world.host import HostSpec
from lab.world.model import Cut, Network, Rule
from tests.lab.pair import TwoHosts, network
from tests.lab.test_world_network import CONNECT, SETTLED, declared, echo, reaches

__all__ = ["echo"]  # a fixture

FRONT6, BACK6, RANGE6 = "2001:db8:99::10", "2001:db8:99::11", "2001:db8:99::/64"
_TAKE = (
    "set -e; sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.eth0.disable_ipv6=1;"
    " sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0; ip -6 address replace {address}/128 dev eth0"
)


def network6(*, opened: bool = True, inner: bool = True) -> Network:
    """The test network with IPv6, where front lets in SSH over it; `inner` lets back in, too."""
    base = network()
    front, back = base.attachments
    peers = ["::/0"] if inner else [f"{addresses.OPERATOR6}/128"]
    ssh = tuple(Rule(direction="in", protocol="tcp", ports=(22, 22), peer=peer) for peer in peers)
    out = Rule(direction="out", peer="::/0")
    groups = tuple(replace(group, rules=(*group.rules, *ssh, out)) for group in base.groups)
    return replace(
        base,
        subnets=(replace(base.subnets[0], ipv6=RANGE6),),
        groups=groups,
        attachments=(
            replace(front, ipv6=FRONT6, ipv6_open=opened),
            replace(back, ipv6=BACK6),
        ),
    )


@contextmanager
def with_ipv6(two_hosts: TwoHosts, changed: Network) -> Iterator[None]:
    """Both running hosts take the addresses that the changed network gives them."""
    with declared(two_hosts, changed):
        try:
            for host, address in ((two_hosts.front, FRONT6), (two_hosts.back, BACK6)):
                host.exec(["sh", "-c", _TAKE.format(address=address)])
                way = f"until ip -6 route get 2001:db8::1 from {address}; do sleep 0.1; done"
                host.exec(["sh", "-c", way], within=30)
            yield
        finally:
            for host, address in ((two_hosts.front, FRONT6), (two_hosts.back, BACK6)):
                host.exec(["ip", "-6", "address", "flush", "to", address])
                host.exec(["ip", "-6", "route", "flush", "default"])


def operator_reaches(two_hosts: TwoHosts, address: str, port: int) -> bool:
    program = CONNECT.format(address=address, port=port, within=SETTLED)
    ended = two_hosts.world.operator.run(["python3", "-c", program], check=False)
    return ended.status == 0


def test_an_open_ipv6_address_is_reached_from_everywhere_on_the_ports_of_its_rules(
    two_hosts: TwoHosts, echo: None
) -> None:
    with with_ipv6(two_hosts, network6()):
        assert operator_reaches(two_hosts, FRONT6, 22)
        assert reaches(two_hosts.front, FRONT6, 9000), "somebody listens"
        assert not operator_reaches(two_hosts, FRONT6, 9000)
        assert not operator_reaches(two_hosts, BACK6, 22), "its address is good for inside only"


def test_a_closed_ipv6_address_is_reached_from_its_own_network_only(two_hosts: TwoHosts) -> None:
    with with_ipv6(two_hosts, network6(opened=False)):
        assert reaches(two_hosts.back, FRONT6, 22)
        assert not operator_reaches(two_hosts, FRONT6, 22)


def test_a_rule_keeps_out_who_it_does_not_name_over_ipv6(two_hosts: TwoHosts) -> None:
    with with_ipv6(two_hosts, network6(inner=False)):
        assert operator_reaches(two_hosts, FRONT6, 22)
        assert not reaches(two_hosts.back, FRONT6, 22)


def test_a_cut_drops_ipv6_too(two_hosts: TwoHosts) -> None:
    with with_ipv6(two_hosts, network6()):
        two_hosts.world.cut(Cut(hosts=("front", "back")))
        cut = reaches(two_hosts.back, FRONT6, 22)
        two_hosts.world.heal("front", "back")

        assert not cut
        assert reaches(two_hosts.back, FRONT6, 22)


def test_a_host_at_home_with_ipv6_reaches_out_and_is_not_reached(two_hosts: TwoHosts) -> None:
    world = two_hosts.world
    home = world.add_host(HostSpec(name="laptop6", user_data=b"#cloud-config\n"), ipv6=True)
    try:
        own = world.place("laptop6")[1].ipv6
        with with_ipv6(two_hosts, network6()):
            assert reaches(home, FRONT6, 22)
            assert own and not reaches(two_hosts.front, own, 22)
    finally:
        world.remove_host("laptop6")


def test_ipv6_is_late_where_hosts_are_placed_apart(two_hosts: TwoHosts) -> None:
    program = (
        "import socket, time; began = time.monotonic();"
        f" socket.create_connection(({FRONT6!r}, 22), 5).close();"
        " print(time.monotonic() - began)"
    )
    world = two_hosts.world
    visitor = world.add_host(HostSpec(name="visitor6", user_data=b"#cloud-config\n"), ipv6=True)
    try:
        with with_ipv6(two_hosts, network6()):
            world.place_apart({("visitor6", "front"): 40})
            far = float(visitor.exec(["python3", "-c", program]).stdout)
            world.place_apart({})
    finally:
        world.remove_host("visitor6")

    assert far > 0.080
