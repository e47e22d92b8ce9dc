"""Public services of the lab's world: names, packages, objects, certificates."""

from __future__ import annotations

from dataclasses import replace

from lab.world.model import Record, Rule
from tests import needs
from tests.lab.pair import FRONT_PUBLIC, OWNER, TwoHosts, declaration, network

_BUCKET = "https://test-bucket.oss-cn-beijing.aliyuncs.com"
_INTERNAL = "https://test-bucket.oss-cn-beijing-internal.aliyuncs.com"
# dehydrated: an ACME client in one shell script; it asks Let's Encrypt unless told otherwise.
_ISSUE = """
exec 3>&1 >&2
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends dehydrated
mkdir -p /var/lib/dehydrated/acme-challenges /srv/web/.well-known
ln -sfn /var/lib/dehydrated/acme-challenges /srv/web/.well-known/acme-challenge
systemd-run --quiet --unit=web python3 -m http.server --directory /srv/web 80
dehydrated --register --accept-terms
dehydrated --cron --domain front.example
systemctl stop web
cd /var/lib/dehydrated/certs/front.example
openssl verify -untrusted chain.pem cert.pem >&3
"""
_STATUS = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]


def test_a_wildcard_alias_is_followed(two_hosts: TwoHosts) -> None:
    found = two_hosts.front.exec(["getent", "hosts", "any.apps.example"])

    assert found.stdout.split()[0] == FRONT_PUBLIC


def test_a_new_record_is_answered_at_once(two_hosts: TwoHosts) -> None:
    new = Record(name="new.example", type="TXT", value="fresh; really", zone="example")

    two_hosts.world.declare(OWNER, declaration(records=(new,)))
    said = two_hosts.front.exec(["host", "-t", "TXT", "new.example"]).stdout
    two_hosts.world.declare(OWNER, declaration())

    assert '"fresh; really"' in said


def test_a_name_that_nobody_declared_does_not_exist(two_hosts: TwoHosts) -> None:
    said = two_hosts.front.exec(["host", "missing.example"], check=False)

    assert "NXDOMAIN" in said.stdout


def test_names_of_the_real_internet_do_not_exist(two_hosts: TwoHosts) -> None:
    said = two_hosts.front.exec(["host", "www.iana.org"], check=False)

    assert "NXDOMAIN" in said.stdout


def test_a_long_answer_comes_by_tcp(two_hosts: TwoHosts) -> None:
    many = tuple(
        Record(name="many.example", type="TXT", value=f"{number} " * 40, zone="example")
        for number in range(40)
    )

    two_hosts.world.declare(OWNER, declaration(records=many))
    said = two_hosts.front.exec(["host", "-t", "TXT", "many.example"]).stdout
    two_hosts.world.declare(OWNER, declaration())

    assert said.count("many.example descriptive text") == 40


def test_cloud_init_installs_packages_through_the_nat_gateway(two_hosts: TwoHosts) -> None:
    assert "Hello, world!" in two_hosts.back.exec(["hello"]).stdout


def test_a_public_object_is_served_over_checked_https(two_hosts: TwoHosts) -> None:
    got = two_hosts.front.exec(["curl", "--fail", "--silent", f"{_BUCKET}/public/a.txt"])

    assert got.stdout == "content of the object\n"


def test_a_private_object_is_refused(two_hosts: TwoHosts) -> None:
    assert two_hosts.front.exec([*_STATUS, f"{_BUCKET}/private/a.txt"]).stdout == "403"


def test_the_internal_endpoint_needs_no_way_out(two_hosts: TwoHosts) -> None:
    two_hosts.world.declare(OWNER, declaration(network(nat=None)))
    got = two_hosts.back.exec([*_STATUS, f"{_INTERNAL}/public/a.txt"], check=False)
    two_hosts.world.declare(OWNER, declaration())

    assert got.stdout == "200"


def test_a_certificate_is_issued_and_trusted(two_hosts: TwoHosts) -> None:
    needs.artifact("pebble")
    base = network()
    web = Rule(direction="in", protocol="tcp", ports=(80, 80))
    groups = tuple(replace(group, rules=(*group.rules, web)) for group in base.groups)
    two_hosts.world.declare(OWNER, declaration(replace(base, groups=groups)))

    try:
        said = two_hosts.front.exec(["sh", "-euc", _ISSUE], within=240)
    finally:
        two_hosts.world.declare(OWNER, declaration())

    assert said.stdout.endswith("cert.pem: OK\n"), "the host's own trust store must suffice"
