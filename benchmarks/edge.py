"""What the public edge costs and how fast it mends itself, measured on a running lab.

python -m benchmarks.edge --state .lab      # adds rows to docs/reports/edge.json, writes edge.md
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from drills import certificates, scan, strangers, udp
from drills.__main__ import running_mesh
from drills.client import Client, install
from drills.dns_services import SERVICES, Service, lego
from drills.mesh import Mesh
from drills.streams import StreamWatch
from lab.world import netns
from lab.world.authority import authority
from lab.world.command import until
from lab.world.host import Host
from lab.world.world import World

REPORTS: Final = Path(__file__).parent.parent / "docs" / "reports"
RELAY: Final = "derp-bj"  # whose certificate comes by DNS-01, and whose bandwidth the cloud caps
_BY_HTTP: Final = "derp-hk"  # of stack lab
FAR: Final = {"derp-bj": 15.0, "derp-hk": 25.0, "derp-sg": 40.0}  # ms each way from Shanghai
ROUNDS: Final = 5
_PROBE: Final = 50_000_000  # bytes that derpprobe sends through a relay at once
_PROBES: Final = 5  # a round
_TRANSFER: Final = "derpprobe_derp_bw_transfer_time_seconds_total"
_SUCCEEDED: Final = 'status="ok"'
_GAP_POLL: Final = 0.02  # s
_AFTERWARDS: Final = 3  # s in which what a renewal breaks would show
_UNKNOWN_KEY: Final = "/run/edge-mesh.key"


@dataclass(frozen=True)
class Row:
    """One measurement. `seconds` unless the name of `what` says otherwise."""

    what: str
    value: float
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def main() -> int:
    """Measures all, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".lab"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    mesh = running_mesh(options.state)
    # The report needs the first.
    for part in (throughput, issuing, ports, refusals, renewals, homes):
        write(list(part(mesh, options.rounds)))
    return 0


# What the world finds


def ports(mesh: Mesh, rounds: int) -> Iterator[Row]:
    """What answers an outsider; once, however many rounds."""
    outsider = mesh.clients[0].host
    roles = {mesh.public(name): mesh.outputs["hosts"][name]["role"] for name in _public(mesh)}
    tcp = scan.open_ports(outsider, list(roles))
    heard = udp.heard(outsider, list(roles))
    beyond = [set(found) - set(scan.PLAN[roles[at]]) for at, found in tcp.items()]
    stun = [address for address, one in heard.items() if udp.STUN in one.stun]
    others = [set(one.answers) - {udp.STUN} for one in heard.values()]
    yield Row("scan: hosts (number)", float(len(roles)))
    yield Row("scan: open TCP ports (number)", float(sum(map(len, tcp.values()))))
    yield Row("scan: open TCP ports beyond the plan (number)", float(sum(map(len, beyond))))
    yield Row("scan: hosts that answer STUN (number)", float(len(stun)))
    yield Row("scan: other UDP ports that answer (number)", float(sum(map(len, others))))


def refusals(mesh: Mesh, rounds: int) -> Iterator[Row]:
    """Whether relays carry packets of clients that Headscale does not know."""
    device = mesh.clients[1]
    said = json.loads(device.tailscale("debug", "derp-map").stdout)
    regions = {region["RegionCode"]: region for region in said["Regions"].values()}
    for _ in range(rounds):
        for code, carried in strangers.relayed(device.host, regions).items():
            yield Row(f"stranger: refused by {code} (number)", float(not carried))
    friends = strangers.relayed(device.host, regions, mesh.file(RELAY, "/etc/mesh/derp-mesh.key"))
    yield Row("stranger with the relays' key: carried by (number)", float(sum(friends.values())))


def _public(mesh: Mesh) -> list[str]:
    """The hosts with an address of the internet."""
    hosts = mesh.outputs["hosts"]
    return [name for name, f in hosts.items() if f["address"] not in ("", f["private_address"])]


# A client's home


def homes(mesh: Mesh, rounds: int) -> Iterator[Row]:
    """From the end of the nearest relay until a client is at home at the next one."""
    client = mesh.clients[1]
    pairs = {(client.host.name, mesh.host(name).name): ms for name, ms in FAR.items()}
    mesh.world.place_apart(pairs)
    try:
        for _ in range(rounds):
            # A client goes by the best time of the last five minutes; this one starts anew.
            client.host.exec(["systemctl", "restart", "tailscaled"])
            _moved(client, "sh")
            mesh.host("derp-sh").exec(["systemctl", "stop", "derper"])
            yield Row("home: moved from a stopped relay", _moved(client, "bj"))
            mesh.host("derp-sh").exec(["systemctl", "start", "derper"])
    finally:
        mesh.host("derp-sh").exec(["systemctl", "start", "derper"])
        mesh.world.place_apart({})


def _moved(client: Client, region: str) -> float:
    began = time.monotonic()
    until(
        lambda: client.status()["Self"]["Relay"] == region,
        within=300,
        what=f"home {region}",
        seen=lambda: str(client.status()["Self"]["Relay"]),
        poll=0.1,
    )
    return time.monotonic() - began


# Renewals


def renewals(mesh: Mesh, rounds: int) -> Iterator[Row]:
    """What a renewal costs those who are connected."""
    relay = mesh.host(RELAY)
    name = f"{RELAY}.{mesh.outputs['server_url'].split('.', 1)[1]}"
    for _ in range(rounds):
        certificates.age(relay)
        with _watched(mesh, name, mesh.public(RELAY)) as gaps:
            yield _issued(relay)
            time.sleep(_AFTERWARDS)
        yield Row("renewal: relay away", max(gaps, default=0.0))
        certificates.age(mesh.host(_BY_HTTP))
        yield _issued(mesh.host(_BY_HTTP))
    for _ in range(rounds):
        for control in mesh.controls:
            certificates.age(mesh.host(control))
        watches = [StreamWatch(client) for client in mesh.clients]
        for watch in watches:
            watch.start()
        for control in mesh.controls:
            certificates.renew(mesh.host(control))
        time.sleep(_AFTERWARDS)
        for watch in watches:
            watch.stop()
        dropped = sum(watch.counts[-1].streams - watch.counts[0].streams for watch in watches)
        yield Row("renewal: map streams dropped (number)", float(dropped))


def _issued(host: Host) -> Row:
    """How long the service runs: the order, the challenge, the new files, the unit told."""
    began = time.monotonic()
    certificates.renew(host)
    return Row(f"renewal: by {certificates.challenge(host)}", time.monotonic() - began)


@contextmanager
def _watched(mesh: Mesh, name: str, address: str) -> Iterator[list[float]]:
    """The times without an answer of a relay, from its first one on, while this is entered."""
    gaps: list[float] = []
    first, over = threading.Event(), threading.Event()
    context = ssl.create_default_context(cadata=authority().certificate.read_text())

    def look() -> None:
        netns.enter(str(mesh.world.operator.namespace.name))
        last = 0.0
        while not over.wait(_GAP_POLL):
            if _answers(name, address, context):
                now = time.monotonic()
                if first.is_set():
                    gaps.append(now - last)
                last = now
                first.set()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        until(first.is_set, within=60, what=f"an answer of {name}")
        yield gaps
    finally:
        over.set()
        thread.join()


def _answers(name: str, address: str, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection(name, timeout=1, context=context)
    try:
        plain = socket.create_connection((address, 443), 1)
        connection.sock = context.wrap_socket(plain, server_hostname=name)
        connection.request("GET", "/derp/probe")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


# Certificates at each DNS service


def issuing(mesh: Mesh, rounds: int) -> Iterator[Row]:
    """How long lego takes for a first certificate, in a world of services alone."""
    with tempfile.TemporaryDirectory() as folder:
        world = World.start(Path(folder) / "state")
        try:
            for name, make in SERVICES.items():
                service = make(world)
                for number in range(rounds):
                    place = Path(folder) / f"{name}-{number}"
                    yield Row(f"issue: DNS-01 at {name}", _first(world, service, place))
        finally:
            world.stop()


def _first(world: World, service: Service, place: Path) -> float:
    began = time.monotonic()
    challenge = ("--dns", service.provider)
    done = lego(world, place, f"hs.{service.zone}", *challenge, variables=service.variables)
    if done.status != 0:
        raise RuntimeError(f"{service.provider}: {done.stderr}")
    return time.monotonic() - began


# Throughput


def throughput(mesh: Mesh, rounds: int) -> Iterator[Row]:
    """Through our unit and through the bare program, in turn, on one host."""
    relay, client = mesh.host(RELAY), mesh.clients[1]
    _prepare(mesh, client)
    for _ in range(rounds):
        yield Row("throughput: our unit (Mbit/s)", _speed(client.host))
        with _bare(relay):
            yield Row("throughput: bare derper (Mbit/s)", _speed(client.host))


def _prepare(mesh: Mesh, client: Client) -> None:
    install(client.host, "derpprobe")
    key = mesh.file(RELAY, "/etc/mesh/derp-mesh.key")
    client.host.exec(["install", "-m", "600", "/dev/stdin", _UNKNOWN_KEY], stdin=key)
    said = json.loads(client.tailscale("debug", "derp-map").stdout)
    code = RELAY.removeprefix("derp-")
    one = {k: r for k, r in said["Regions"].items() if r["RegionCode"] == code}
    text = json.dumps({"Regions": one})
    client.host.exec(["install", "-m", "644", "/dev/stdin", "/run/edge-map.json"], stdin=text)


@contextmanager
def _bare(relay: Host) -> Iterator[None]:
    """derper as one would start it by hand, instead of our unit."""
    files = relay.exec(["sh", "-c", "ls /etc/derper/*.crt"]).stdout.strip()
    name = Path(files).stem
    relay.exec(["systemctl", "stop", "derper"])
    words = ["systemd-run", "--quiet", "--unit=bare-derper", "/usr/local/bin/derper"]
    own = ["-certmode=manual", "-certdir=/etc/derper", f"-hostname={name}", "-c=/run/bare.key"]
    relay.exec([*words, *own, "-mesh-psk-file=/etc/mesh/derp-mesh.key"])
    try:
        yield
    finally:
        relay.exec(["systemctl", "stop", "bare-derper"])
        relay.exec(["systemctl", "start", "derper"])


def _speed(host: Host) -> float:
    """Mbit/s of some probes through the relay, by derpprobe's own clock."""
    words = ["systemd-run", "--quiet", "--unit=edge-probe", "/usr/local/bin/derpprobe"]
    own = ["-derp-map=file:///run/edge-map.json", f"-mesh-psk-file={_UNKNOWN_KEY}"]
    own += ["-listen=127.0.0.1:8031", "-interval=1s", "-bw-interval=2s", "-spread=false"]
    host.exec([*words, *own, f"-bw-probe-size-bytes={_PROBE}"])
    try:
        until(lambda: _probes(host)[0] >= _PROBES, within=120, what="probes", poll=0.5)
        count, seconds = _probes(host)
    finally:
        host.exec(["systemctl", "stop", "edge-probe"])
    return count * _PROBE * 8 / seconds / 1e6


def _probes(host: Host) -> tuple[int, float]:
    """How many bandwidth probes succeeded, and the seconds that they took in all."""
    ask = ["curl", "--silent", "http://127.0.0.1:8031/debug/varz"]
    lines = host.exec(ask, check=False).stdout.splitlines()
    done = [
        line
        for line in lines
        if "attempts_total" in line and _SUCCEEDED in line and 'class="derp_bw"' in line
    ]
    took = [line for line in lines if line.startswith(_TRANSFER)]
    if not done or not took:
        return 0, 0.0
    return int(float(done[0].split()[-1])), float(took[0].split()[-1])


# Report


def write(rows: list[Row]) -> None:
    """Add the rows to those that are kept, and write the report anew."""
    path = REPORTS / "edge.json"
    kept = json.loads(path.read_text()) if path.exists() else []
    kept += [asdict(row) for row in rows]
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in kept) + "\n]\n")
    values: dict[str, list[float]] = {}
    for row in kept:
        values.setdefault(row["what"], []).append(row["value"])
    lines = [
        f"| {what} | {len(v)} | {min(v):.2f} | {statistics.median(v):.2f} | {max(v):.2f} |"
        for what, v in values.items()
    ]
    ours = statistics.median(values["throughput: our unit (Mbit/s)"])
    bare = statistics.median(values["throughput: bare derper (Mbit/s)"])
    (REPORTS / "edge.md").write_text(_HEAD.format(ratio=ours / bare) + "\n".join(lines) + "\n")


_HEAD: Final = """\
# The public edge

`python -m benchmarks.edge --state .lab` on a running lab (`make lab`). Seconds unless said
otherwise. Raw rows: `edge.json`.

- *scan*: all TCP ports of each public host, and 32 UDP ports in the words of seven protocols.
- *stranger*: derpprobe's two keys, which Headscale does not know, at each relay; 1 is a refusal.
- *issue*: lego, without a host: a new account and a certificate by a TXT record that the simulated
  API of that service takes and the lab's name server answers.
- *home*: a client whose nearest relay is Shanghai (the others are placed 30 to 80 ms away, there
  and back); derper in Shanghai is stopped.
- *renewal*: a certificate with 25 of 90 days left is put in place, and shown, and mesh-certificate
  run. *relay away* is the longest time
  without an answer of the relay to new TLS connections, tried every 20 ms; *map streams dropped*
  counts the new streams of two clients while both control hosts renew. *by …* is how long the
  service runs. What a real DNS service takes until all of its servers know a record is in neither
  these nor *issue*.
- *throughput*: derpprobe's bandwidth probes between two clients through one relay, our unit and
  `derper` started by hand in turn. Ratio of the medians: {ratio:.2f}.

| what | n | least | median | most |
| --- | --- | --- | --- | --- |
"""


if __name__ == "__main__":
    raise SystemExit(main())
