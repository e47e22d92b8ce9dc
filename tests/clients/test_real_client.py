"""Covers clients/install.sh with a real tailscaled and a real Headscale, both on this machine.

The client works without a network device. Only systemd is stood for: it starts the daemon as the
unit would. On booted hosts: tests/lab/test_mesh_clients.py. Needs dist/ (make artifacts).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients import machine
from tests.clients.conftest import DEBIAN
from tests.clients.machine import Machine
from tests.dns.tailnet import Tailnet
from tests.guard import waiting
from tests.relays.mesh import program

NAME = "prod-web-bj-061"
OWNER = "zhangsan"
# As the unit that the installer wrote, but for the network device.
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>/fake/calls
pid=/fake/pid
alive() { [ -e $pid ] && kill -0 "$(cat $pid)" 2>/dev/null; }
end() {
    if alive; then kill "$(cat $pid)"; tail --pid "$(cat $pid)" -f /dev/null; fi
    rm -f $pid
}
case $1 in
is-active) alive ;;
is-enabled) [ -e /fake/enabled ] ;;
enable) : >/fake/enabled ;;
restart)
    end
    mkdir -p /run/tailscale
    env $(grep -v '^#' /etc/mesh-client/environment | tr -d '"') \
        /usr/local/sbin/tailscaled --tun=userspace-networking --port=0 \
        --statedir=/var/lib/tailscale --socket=/run/tailscale/tailscaled.sock \
        >/fake/tailscaled.log 2>&1 </dev/null &
    echo $! >$pid
    while [ ! -S /run/tailscale/tailscaled.sock ]; do alive && sleep 0.1 || exit 1; done
    ;;
disable) end && rm -f /fake/enabled /run/tailscale/tailscaled.sock ;;
esac
"""


@pytest.fixture
def tailnet(tmp_path: Path) -> Iterator[Tailnet]:
    """A Headscale that knows one user."""
    records = tmp_path / "records.json"
    records.write_text("[]")
    (tmp_path / "tailnet").mkdir()
    made = Tailnet(tmp_path / "tailnet", records)
    made.start()
    made.headscale("users", "create", OWNER)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def debian(tmp_path: Path, tailnet: Tailnet) -> Iterator[Machine]:
    """A Debian whose store has the real programs."""
    programs = {name: Path(program(name)) for name in ("tailscale", "tailscaled")}
    with machine.machine(tmp_path, DEBIAN, programs, tailnet.url) as made:
        made.write("/fake/bin/systemctl", SYSTEMCTL, "755")
        try:
            yield made
        finally:
            made.run("systemctl", "disable", "--now", "tailscaled")


def _key(tailnet: Tailnet) -> str:
    made = tailnet.headscale("preauthkeys", "create", "--tags", "tag:prod", "-e", "1h")
    return str(made["key"])


def _nodes(tailnet: Tailnet) -> dict[str, str]:
    """Owners of nodes by name."""
    return {node["name"]: node["user"]["name"] for node in tailnet.headscale("nodes", "list") or ()}


def test_a_machine_joins_once(debian: Machine, tailnet: Tailnet) -> None:
    key = _key(tailnet)

    first = debian.install("--hostname", NAME, key=key)
    second = debian.install("--hostname", NAME, key=key)

    assert (first.status, first.told["node"]) == (0, NAME), first.said
    assert second.told["steps"] == []
    assert list(_nodes(tailnet)) == [NAME]


def test_the_key_is_not_kept_by_the_client(debian: Machine, tailnet: Tailnet) -> None:
    key = _key(tailnet)
    debian.install("--hostname", NAME, "--key-file", "-", key=None, stdin=key)

    script = 'grep -rlF -e "$1" /var/lib/tailscale /etc /fake || true'
    assert debian.run("sh", "-c", script, "sh", key) == ""
    assert NAME in _nodes(tailnet)


def test_every_profile_is_as_the_client_understands_it(debian: Machine, tailnet: Tailnet) -> None:
    key = _key(tailnet)
    for profile in ("server", "locked-down", "workstation", "server"):
        options = ("--hostname", NAME, "--profile", profile)
        env = {"SUDO_USER": "nobody"}
        assert debian.install(*options, key=key, env=env).told["changed"], profile
        assert not debian.install(*options, key=key, env=env).told["changed"], profile


def test_locked_down_takes_back_the_routes_that_were_offered(
    debian: Machine, tailnet: Tailnet
) -> None:
    debian.install("--hostname", NAME, key=_key(tailnet))
    debian.run("tailscale", "set", "--advertise-routes=10.99.0.0/16")
    assert not debian.install("--hostname", NAME, key=None).told["changed"]

    locked = ("--hostname", NAME, "--profile", "locked-down")
    assert debian.install(*locked, key=None).told["changed"]

    assert debian.run("tailscale", "get", "advertise-routes").strip() == ""
    assert not debian.install(*locked, key=None).told["changed"]


def test_a_node_that_was_taken_down_comes_up_with_its_routes(
    debian: Machine, tailnet: Tailnet
) -> None:
    debian.install("--hostname", NAME, key=_key(tailnet))
    debian.run("tailscale", "set", "--advertise-routes=10.99.0.0/16")
    debian.run("tailscale", "down")

    ended = debian.install("--hostname", NAME, key=None)

    assert ended.told["steps"] == ["bring the node up again"], ended.said
    assert debian.run("tailscale", "get", "advertise-routes").strip() == "10.99.0.0/16"


def test_a_key_that_nobody_knows_is_refused(debian: Machine, tailnet: Tailnet) -> None:
    ended = debian.install("--timeout", "15", key="hskey-auth-nobody")

    assert ended.status == 17
    assert _nodes(tailnet) == {}


def test_a_workstation_joins_when_an_administrator_registers_its_id(
    debian: Machine, tailnet: Tailnet
) -> None:
    def asked() -> str:
        shown = debian.run("sh", "-c", "tailscale status --json 2>/dev/null || true")
        found = re.search(r'"AuthURL": "[^"]*/register/([^"]+)"', shown)
        return found[1] if found else ""

    options = ("--hostname", NAME, "--profile", "workstation")
    with ThreadPoolExecutor() as pool:
        job = pool.submit(lambda: debian.install(*options, key=None))
        waiting.eventually("an ID to register", lambda: bool(asked()))
        tailnet.headscale("auth", "register", "--auth-id", asked(), "--user", OWNER)
        ended = job.result()

    assert ended.status == 0, ended.said
    assert _nodes(tailnet) == {NAME: OWNER}


def test_uninstall_logs_out_and_leaves_nothing(debian: Machine, tailnet: Tailnet) -> None:
    before = debian.changes()
    debian.install("--hostname", NAME, key=_key(tailnet))

    ended = debian.script("--uninstall")

    assert (ended.status, ended.told["logged_out"]) == (0, True), ended.said
    assert debian.changes() == before
    (node,) = tailnet.headscale("nodes", "list")
    assert node["expiry"], "the server knows that it is gone"
