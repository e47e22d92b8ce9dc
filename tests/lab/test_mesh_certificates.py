"""Covers how the hosts of the booted mesh renew their public certificates."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from drills import certificates, two_clients
from drills.client import Client
from drills.streams import StreamWatch, entries
from lab.world.command import until
from meshctl import facts
from tests.lab.edge import CONTROLS, RELAYS, ask, certificate
from tests.lab.mesh import Mesh


def issued(mesh: Mesh, host: str) -> str:
    """The serial number of the certificate that a host shows."""
    said = certificate(mesh, host, "-noout -serial")
    assert said, f"{host} shows no certificate"
    return said


def days_left(mesh: Mesh, host: str) -> float:
    """How long the certificate that a host shows is good for; not a number while it shows none."""
    said = certificate(mesh, host, "-noout -enddate -dateopt iso_8601").partition("=")[2]
    if not said:
        return math.nan
    left = datetime.datetime.fromisoformat(said) - datetime.datetime.now(datetime.UTC)
    return left.total_seconds() / 86400


def age(mesh: Mesh, host: str) -> None:
    """The certificate that a host has, and shows, is near its end."""
    certificates.age(mesh.host(host))
    until(
        lambda: days_left(mesh, host) < certificates.LEFT_DAYS + 1,
        within=60,
        what=f"{host} with a certificate near its end",
        seen=lambda: f"{days_left(mesh, host):.0f} days",
    )


@pytest.mark.parametrize("name", ["hs-1", "derp-hk", "derp-sg"])
def test_a_certificate_near_its_end_is_renewed(mesh: Mesh, name: str) -> None:
    age(mesh, name)

    certificates.renew(mesh.host(name))

    until(lambda: days_left(mesh, name) > 89, within=60, what="a certificate for three months")
    assert ask(mesh, name, "/").status == 0, "everybody trusts it"


def test_a_renewal_drops_no_stream_of_a_client(mesh: Mesh) -> None:
    clients = (mesh.server, mesh.device)
    steered(mesh, *clients)  # else the steward would move streams meanwhile
    for name in CONTROLS:
        age(mesh, name)

    with watched(*clients) as watches:
        began = {watch.name: watch.counts[-1] for watch in watches}
        for name in CONTROLS:
            certificates.renew(mesh.host(name))
        until(
            lambda: all(days_left(mesh, n) > 89 for n in CONTROLS), within=60, what="both renewed"
        )
        renewed = {watch.name: watch.counts[-1].messages for watch in watches}
        until(  # Headscale says something once a minute
            lambda: all(w.counts[-1].messages > renewed[w.name] for w in watches),
            within=180,
            what="news on each stream",
        )

    begun = {w.name: w.counts[-1].streams - began[w.name].streams for w in watches}
    assert begun == dict.fromkeys(began, 0)


def steered(mesh: Mesh, *clients: Client) -> None:
    """Returns when the clients' streams run through the standby's entry alone."""
    active = two_clients.active_name(mesh.world, mesh.outputs)
    names = {mesh.outputs["hosts"][name]["address"]: name for name in CONTROLS}
    wanted = [name for name in CONTROLS if name != active]

    def through() -> list[list[str]]:
        return [entries(client, names) for client in clients]

    until(
        lambda: all(found == wanted for found in through()),
        within=180,
        what=f"streams through {wanted} alone",
        seen=lambda: str(through()),
    )


@contextmanager
def watched(*clients: Client) -> Iterator[list[StreamWatch]]:
    """Samples of the clients' streams, the first of them taken, while this is entered."""
    watches = [StreamWatch(client) for client in clients]
    for watch in watches:
        watch.start()
    try:
        until(lambda: all(watch.counts for watch in watches), within=30, what="first samples")
        yield watches
    finally:
        for watch in watches:
            watch.stop()
    assert [watch.failure for watch in watches] == [None] * len(watches)


def test_a_certificate_that_is_not_due_stays(mesh: Mesh) -> None:
    before = issued(mesh, "hs-1")

    certificates.renew(mesh.host("hs-1"))

    assert issued(mesh, "hs-1") == before


def test_with_a_wrong_credential_the_old_certificate_stays_and_the_journal_says_why(
    mesh: Mesh,
) -> None:
    host, secret = mesh.host("hs-2"), "/etc/mesh/acme/ALICLOUD_SECRET_KEY"
    kept = host.exec(["cat", secret]).stdout
    age(mesh, "hs-2")
    before = issued(mesh, "hs-2")
    try:
        host.exec(["install", "-m", "600", "/dev/stdin", secret], stdin="wrong")
        ended = host.exec(["systemctl", "start", "mesh-certificate"], check=False, within=300)
    finally:
        host.exec(["install", "-m", "600", "/dev/stdin", secret], stdin=kept)

    journal = host.exec(["journalctl", "-u", "mesh-certificate", "-n", "20"]).stdout
    assert ended.status != 0
    assert issued(mesh, "hs-2") == before
    assert "SignatureDoesNotMatch" in journal
    certificates.renew(host)


def test_the_end_of_a_certificate_is_there_for_monitoring(mesh: Mesh) -> None:
    host = mesh.host("hs-1")
    line = (
        'date +%s -d "$(openssl x509 -noout -enddate -in /etc/mesh/public/entry.pem | cut -d= -f2)"'
    )

    ends = host.exec(["sh", "-c", line]).stdout.strip()

    text = host.exec(["cat", "/run/mesh-certificate/certificate.prom"]).stdout
    assert text.splitlines()[-1] == f"mesh_certificate_expires_seconds {ends}"


@pytest.mark.parametrize("name", [*CONTROLS, *RELAYS])  # the pinned one, too
def test_a_host_tells_meshctl_when_the_certificate_that_it_shows_ends(
    mesh: Mesh, name: str
) -> None:
    question = facts.CERTIFICATE["control" if name in CONTROLS else "relay"]

    said = mesh.host(name).exec(["runuser", "-u", "mesh", "--", "sh", "-c", question]).stdout

    left = facts.life(name, said)
    assert isinstance(left, float), left
    assert abs(left / 86400 - days_left(mesh, name)) < 0.1
