"""Covers a plain Debian that joins the booted mesh by clients/install.sh, and leaves it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drills import joining
from drills.client import Client
from drills.inside import Running
from drills.sampler import Sampler
from lab.world import process
from lab.world.command import until
from lab.world.host import Host
from tests.lab.mesh import Mesh
from tests.lab.plain import NAME, Plain

DECOY = "decoy-0123456789abcdef"
RECORD, ADDRESS = "grafana.ts.company.local", "100.64.2.10"  # an extra record of stack lab
EVIL = "/run/evil-store"
OWNER = "zhangsan"  # of policy/users.yaml
PORT = 8080
PROXY_LOG = "/run/proxy.log"
PROXY = f"""
import select, socket, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        where = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            continue
        with open("{PROXY_LOG}", "a") as log:
            print(where, file=log)
        host, port = where.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as out:
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
            pair = [self.connection, out]
            while True:
                for one in select.select(pair, [], [])[0]:
                    if not (data := one.recv(65536)):
                        return
                    pair[one is pair[0]].sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # another test's connections to this port may just have ended
Server(("127.0.0.1", {PORT}), Handler).serve_forever()
"""
FIVE_MINUTES = 300  # plan 1.2


def test_a_machine_joins_through_the_real_store_and_is_online(plain: Plain, mesh: Mesh) -> None:
    ended = plain.join()

    assert ended.status == 0, ended.said
    assert ended.told["node"] == NAME
    assert ended.told["seconds"] < FIVE_MINUTES
    until(lambda: plain.live.nodes()[NAME].get("online", False), within=60, what=f"{NAME} online")
    assert ended.told["address"] == plain.live.addresses()[NAME]
    until(lambda: NAME in _known(mesh.device), within=60, what=f"{NAME} told to its peers")
    assert "pong" in mesh.device.ping(Client(plain.host), ["--c=10", "--until-direct=false"])


def test_joining_again_changes_nothing(plain: Plain) -> None:
    plain.join()
    before, started = plain.files(), _started(plain.host)

    ended = plain.join()

    assert (ended.status, ended.told["changed"], ended.told["steps"]) == (0, False, [])
    assert _started(plain.host) == started, "tailscaled was not restarted"
    assert _same(before, plain.files(), but="/var/lib/tailscale")


def test_a_check_tells_the_truth_and_does_nothing(plain: Plain) -> None:
    before = plain.files()

    looked = plain.join("--check")

    assert plain.files() == before
    assert NAME not in plain.live.nodes()
    assert looked.told["steps"] == plain.join().told["steps"]
    assert not plain.join("--check").told["changed"]


def test_uninstall_leaves_nothing(plain: Plain) -> None:
    resolver = plain.host.exec(["cat", "/etc/resolv.conf"]).stdout
    before = plain.files()
    plain.join()

    ended = joining.again(plain.host, "--uninstall")

    assert (ended.status, ended.told["result"], ended.told["logged_out"]) == (0, "removed", True)
    assert plain.files() == before
    assert plain.host.exec(["cat", "/etc/resolv.conf"]).stdout == resolver
    units = plain.host.exec(["systemctl", "list-units", "--all", "--no-legend", "tailscale*"])
    assert units.stdout == ""
    assert "tailscale" not in plain.host.exec(["ip", "link"]).stdout
    assert "ts-" not in plain.host.exec(["iptables-save"]).stdout
    until(
        lambda: not plain.live.nodes()[NAME].get("online", False), within=60, what=f"{NAME} offline"
    )


def test_a_program_with_another_hash_is_refused_and_nothing_is_half_done(plain: Plain) -> None:
    before = plain.files()
    hashes = dict(re.findall(r"--(tailscaled?) ([0-9a-f]{64})", plain.line))
    for name, hash in hashes.items():
        path = f"{EVIL}/{hash}/{name}"
        plain.host.exec(["install", "-D", "/dev/stdin", path], stdin="#!/bin/sh\necho evil\n")
    store = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", EVIL, str(PORT)]
    served = Running(plain.host, store, quiet=True)
    try:
        until(lambda: _listens(plain.host), within=60, what="that store", poll=0.5)
        ended = plain.join("--store", f"http://127.0.0.1:{PORT}")
    finally:
        served.end()

    assert ended.status == 13, ended.said
    assert "another tailscale " in ended.told["error"]
    assert plain.files() == before
    assert NAME not in plain.live.nodes()


def test_the_key_is_never_to_be_seen(plain: Plain) -> None:
    decoy = Running(plain.host, ["env", f"DECOY={DECOY}", "sleep", "600"])
    watch = Watch(plain.host, (plain.key, DECOY))
    watch.start()
    try:
        ended = plain.join()
    finally:
        watch.stop()
        decoy.end()

    assert ended.status == 0, ended.said
    assert watch.failure is None
    assert watch.looks > 10
    assert watch.seen == {DECOY}, "arguments and environments of all processes"
    assert plain.key not in ended.said
    journal = plain.host.exec(["journalctl", "--output=export"]).stdout
    assert "tailscaled" in journal
    assert plain.key not in journal
    places = ["/etc", "/root", "/run", "/tmp", "/usr/local", "/var"]
    line = ["grep", "-rlF", "-f", "/dev/stdin", "-D", "skip", *places]
    assert plain.host.exec(line, stdin=plain.key, check=False).stdout == ""


def test_a_locked_down_machine_refuses_whom_the_policy_lets_in(plain: Plain, mesh: Mesh) -> None:
    address = plain.join().told["address"]
    listener = Running(plain.host, ["python3", "-m", "http.server", str(PORT)], quiet=True)
    try:
        until(lambda: _answers(mesh.device, address), within=60, what="the open port", poll=0.5)

        plain.join("--profile", "locked-down")
        until(lambda: not _answers(mesh.device, address), within=60, what="it closed", poll=0.5)
        pong = mesh.device.ping(Client(plain.host), ["--c=10", "--until-direct=false"])

        plain.join("--profile", "server")
        until(lambda: _answers(mesh.device, address), within=60, what="it open again", poll=0.5)
    finally:
        listener.end()
    assert "pong" in pong, "the tunnel was there all the time"


def test_a_locked_down_machine_offers_no_routes_any_more(plain: Plain) -> None:
    plain.join()
    plain.host.exec(["tailscale", "set", "--advertise-routes=10.99.0.0/16"])
    kept = plain.join()
    offered = plain.host.exec(["tailscale", "get", "advertise-routes"]).stdout.strip()

    taken = plain.join("--profile", "locked-down")

    assert (kept.told["changed"], offered) == (False, "10.99.0.0/16")
    assert taken.told["steps"] == ["set the preferences of profile locked-down"]
    assert plain.host.exec(["tailscale", "get", "advertise-routes"]).stdout.strip() == ""
    assert not plain.join("--profile", "locked-down").told["changed"]


def test_a_node_that_was_taken_down_comes_up_again_without_a_key(plain: Plain) -> None:
    plain.join()
    plain.host.exec(["tailscale", "down"])

    ended = joining.run_line(plain.host, plain.line)

    assert (ended.status, ended.told["steps"]) == (0, ["bring the node up again"])
    until(lambda: plain.live.nodes()[NAME].get("online", False), within=60, what=f"{NAME} online")


def test_a_workstation_without_a_key_joins_when_an_administrator_registers_it(plain: Plain) -> None:
    line = " ".join([plain.line, "--profile", "workstation"]).replace("--key-file -", "")
    with ThreadPoolExecutor() as pool:
        job = pool.submit(joining.run_line, plain.host, line)
        until(lambda: bool(_asked_for(plain.host)), within=60, what="an ID to register", poll=0.5)
        plain.live.headscale(
            *("auth", "register", "--auth-id", _asked_for(plain.host), "--user", OWNER)
        )
        ended = job.result()

    assert (ended.status, ended.told["result"]) == (0, "joined")
    assert plain.live.nodes()[NAME]["user"]["name"] == OWNER


def test_a_machine_behind_a_proxy_joins_through_it(plain: Plain) -> None:
    through = f"sudo https_proxy=http://127.0.0.1:{PORT} sh mesh-install.sh"
    proxy = Running(plain.host, ["python3", "-c", PROXY], quiet=True)
    try:
        until(lambda: _listens(plain.host), within=60, what="the proxy", poll=0.5)
        ended = joining.run_line(
            plain.host, plain.line.replace("sudo sh mesh-install.sh", through), plain.key
        )
    finally:
        proxy.end()

    assert ended.status == 0, ended.said
    asked = plain.host.exec(["cat", PROXY_LOG]).stdout.split()
    stores = plain.live.outputs["clients"]["stores"].values()
    assert _at(plain.live.url) in asked, "tailscaled went through it"
    assert {_at(store["url"]) for store in stores} & {*asked}, "and so did the downloads"


def test_a_machine_that_has_joined_resolves_names_of_the_mesh(plain: Plain) -> None:
    plain.join()
    asked = ["getent", "ahostsv4", RECORD]

    until(
        lambda: ADDRESS in plain.host.exec(asked, check=False).stdout,
        within=60,
        what=f"{RECORD} resolved",
        poll=0.5,
    )


class Watch(Sampler):
    """Looks for words in the arguments and environments of every process of a host."""

    def __init__(self, host: Host, words: tuple[str, ...]) -> None:
        super().__init__("watch", each=0.02)
        self.seen: set[str] = set()
        self.looks = 0
        self._words = words
        leader = host.leader()
        inside = process.namespace_of(leader, "pid") if leader else None
        assert inside is not None
        self._inside = {inside}

    def look(self) -> None:
        """All processes there are at this moment."""
        for pid in process.inhabitants("pid", self._inside):
            for name in ("cmdline", "environ"):
                text = _text(Path(f"/proc/{pid}/{name}"))
                self.seen |= {word for word in self._words if word in text}
        self.looks += 1


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""


def _at(url: str) -> str:
    """What a proxy is asked for."""
    return f"{url.removeprefix('https://')}:443"


def _asked_for(host: Host) -> str:
    """The ID in the address that a client shows to be registered; "" when it shows none yet."""
    shown = host.exec(["tailscale", "status", "--json"], check=False).stdout
    found = re.search(r'"AuthURL": "[^"]*/register/([^"]+)"', shown)
    return found[1] if found else ""


def _known(client: Client) -> set[str]:
    """The names of the peers that a client has been told of."""
    return {peer["HostName"] for peer in (client.status()["Peer"] or {}).values()}


def _listens(host: Host) -> bool:
    return f":{PORT} " in host.exec(["ss", "-Hltn"]).stdout


def _started(host: Host) -> str:
    line = ["systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "tailscaled"]
    return host.exec(line).stdout


def _same(before: dict[str, str], after: dict[str, str], but: str) -> bool:
    def kept(files: dict[str, str]) -> dict[str, str]:
        return {path: what for path, what in files.items() if not path.startswith(but)}

    return kept(before) == kept(after)


def _answers(device: Client, address: str) -> bool:
    line = ["curl", "-s", "-o", "/dev/null", "--max-time", "3", f"http://{address}:{PORT}/"]
    return device.host.exec(line, check=False).status == 0
