"""lego, as hosts run it, against the lab's ACME server and the three clouds' DNS APIs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from cryptography import x509

from drills.dns_services import SERVICES, Service, lego
from lab.world import addresses, netns
from lab.world.command import run
from lab.world.model import Part, Record
from lab.world.world import World
from tests import needs

VALIDITY = 900  # seconds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of services alone."""
    needs.root("network namespaces are made")
    needs.programs("nft", "openssl")
    for program in ("lego", "pebble"):
        needs.artifact(program)
    made = World.start(tmp_path_factory.mktemp("world") / "state", acme_validity=VALIDITY)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest, world: World) -> Service:
    return SERVICES[request.param](world)


def certificate(world: World, folder: Path, name: str) -> x509.Certificate:
    """The certificate that lego got; the lab's CA vouches for it."""
    bundle = str(folder / "certificates" / f"{name}.crt")
    run(["openssl", "verify", "-CAfile", world.facts()["ca"], "-untrusted", bundle, bundle])
    return x509.load_pem_x509_certificate(Path(bundle).read_bytes())


def texts(world: World, name: str) -> dns.message.Message:
    """The name server's answer about the TXT records of a name."""

    def opened() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    with netns.call(world.state.namespace("operator"), opened) as asking:
        asking.setblocking(False)
        query = dns.message.make_query(name, "TXT")
        return dns.query.udp(query, addresses.NAMESERVER, timeout=5, sock=asking)


def test_a_certificate_is_issued_by_a_challenge_in_the_zone(
    world: World, service: Service, tmp_path: Path
) -> None:
    name = f"hs.{service.zone}"

    said = lego(world, tmp_path, name, "--dns", service.provider, variables=service.variables)

    assert said.status == 0, said.stderr
    names = certificate(world, tmp_path, name).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [name]
    assert texts(world, f"_acme-challenge.{name}").rcode() == dns.rcode.NXDOMAIN, (
        "lego cleans up, and the name server forgets at once"
    )


def test_a_wildcard_and_its_parent_share_one_name(
    world: World, service: Service, tmp_path: Path
) -> None:
    both = ["--dns", service.provider, "--domains", f"*.{service.zone}"]

    variables = {**service.variables, **dict(service.pinned)}
    said = lego(world, tmp_path, service.zone, *both, variables=variables)

    assert said.status == 0, said.stderr
    assert not texts(world, f"_acme-challenge.{service.zone}").answer


def test_a_wrong_secret_is_refused_in_the_services_words(
    world: World, service: Service, tmp_path: Path
) -> None:
    wrong = {**service.variables, service.secret: "x" * 30}

    said = lego(world, tmp_path, f"hs.{service.zone}", "--dns", service.provider, variables=wrong)

    assert said.status == 1
    assert service.bad_signature in said.stderr


def test_an_unknown_key_is_refused_in_the_services_words(
    world: World, service: Service, tmp_path: Path
) -> None:
    wrong = {**service.variables, service.key: "AKIDUNKNOWN"}

    said = lego(world, tmp_path, f"hs.{service.zone}", "--dns", service.provider, variables=wrong)

    assert said.status == 1
    assert service.bad_key in said.stderr


def test_a_key_reaches_its_own_zone_only(world: World, service: Service, tmp_path: Path) -> None:
    name = f"hs.{service.other_zone}"

    said = lego(world, tmp_path, name, "--dns", service.provider, variables=service.variables)

    assert said.status == 1
    assert service.forbidden in said.stderr


@pytest.mark.parametrize("challenge", ["http", "tls"])
def test_a_certificate_is_issued_by_a_challenge_at_the_address(
    world: World, challenge: str, tmp_path: Path
) -> None:
    record = Record(name="operator.test", type="A", value=addresses.OPERATOR, zone="test")
    world.declare("test", Part(records=(record,)))

    said = lego(world, tmp_path, "operator.test", f"--{challenge}")

    assert said.status == 0, said.stderr
    got = certificate(world, tmp_path, "operator.test")
    lifetime = got.not_valid_after_utc - got.not_valid_before_utc
    assert abs(lifetime.total_seconds() - VALIDITY) <= 1, "the world was started so"


def test_what_the_apis_know_is_readable_by_root_only(world: World, service: Service) -> None:
    assert world.state.dns_api.stat().st_mode & 0o777 == 0o600
    assert service.variables[service.secret] in world.state.dns_api.read_text()
