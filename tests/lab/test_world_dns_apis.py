"""lego, as hosts run it, against the lab's ACME server and the three clouds' DNS APIs.

The keys are those of users that the clouds were asked to make. No host is booted: lego runs on
the operator's workstation, without a flag that is for the lab.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from cryptography import x509

from lab.clouds import tencent_names
from lab.world import addresses, netns
from lab.world.command import Done, run
from lab.world.model import Part, Record
from lab.world.world import World
from mesh import permissions
from tests import needs
from tests.engine.lab_region import Region

VALIDITY = 900  # seconds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of services alone."""
    needs.root("network namespaces are made")
    needs.programs("nft", "openssl")
    needs.artifact("pebble")
    made = World.start(tmp_path_factory.mktemp("world") / "state", acme_validity=VALIDITY)
    try:
        yield made
    finally:
        made.stop()


@dataclass(frozen=True)
class Service:
    """A DNS service with two zones and a key for the first, in lego's words."""

    provider: str
    variables: dict[str, str]
    secret: str  # names of variables
    key: str
    bad_signature: str  # what the service says
    bad_key: str
    forbidden: str
    pinned: tuple[tuple[str, str], ...] = ()  # what spares lego the search for its zone

    @property
    def zone(self) -> str:
        return f"{self.provider}.example"

    @property
    def other_zone(self) -> str:
        return f"other-{self.provider}.example"


def alidns(world: World) -> Service:
    cloud, zone = Region("alicloud", "cn-beijing", world.state.root), "alidns.example"
    for name in (zone, f"other-{zone}"):
        record = {"domainName": name, "rr": "hs", "type": "A", "value": "198.18.2.200"}
        cloud.make("alicloud:dns/alidnsRecord:AlidnsRecord", name, **record, ttl=600)
    document = permissions.alidns(zone)
    cloud.make("alicloud:ram/user:User", "acme", name="acme")
    cloud.make("alicloud:ram/policy:Policy", "acme", policyName="acme", policyDocument=document)
    granted = {"userName": "acme", "policyName": "acme", "policyType": "Custom"}
    cloud.make("alicloud:ram/userPolicyAttachment:UserPolicyAttachment", "acme", **granted)
    type = "alicloud:ram/accessKey:AccessKey"
    key = cloud.make(type, "acme", userName="acme")
    return Service(
        provider="alidns",
        variables={
            "ALICLOUD_ACCESS_KEY": key,
            "ALICLOUD_SECRET_KEY": cloud.output(type, key, "secret"),
        },
        secret="ALICLOUD_SECRET_KEY",
        key="ALICLOUD_ACCESS_KEY",
        bad_signature="SignatureDoesNotMatch",
        bad_key="InvalidAccessKeyId.NotFound",
        forbidden="Forbidden.RAM",
    )


def dnspod(world: World) -> Service:
    cloud, zone = Region("tencentcloud", "ap-shanghai", world.state.root), "tencentcloud.example"
    for name in (zone, f"other-{zone}"):
        record = {"domain": name, "subDomain": "hs", "recordType": "A", "recordLine": "默认"}
        type = "tencentcloud:Dnspod/record:Record"
        cloud.make(type, name, **record, value="198.18.3.200", ttl=600)
    document = permissions.dnspod(tencent_names.ACCOUNT, str(tencent_names.domain_id(zone)))
    cloud.make(tencent_names.USER, "acme", name="acme")
    policy = cloud.make(tencent_names.POLICY, "acme", name="acme", document=document)
    granted = {"userName": "acme", "policyId": policy}
    cloud.make(tencent_names.POLICY_ATTACHMENT, "acme", **granted)
    uin = cloud.output(tencent_names.USER, "acme", "uin")
    type = tencent_names.ACCESS_KEY
    key = cloud.make(type, "acme", targetUin=uin)
    return Service(
        provider="tencentcloud",
        variables={
            "TENCENTCLOUD_SECRET_ID": cloud.output(type, key, "accessKey"),
            "TENCENTCLOUD_SECRET_KEY": cloud.output(type, key, "secretAccessKey"),
        },
        secret="TENCENTCLOUD_SECRET_KEY",
        key="TENCENTCLOUD_SECRET_ID",
        bad_signature="AuthFailure.SignatureFailure",
        bad_key="AuthFailure.SecretIdNotFound",
        forbidden="AuthFailure.UnauthorizedOperation",
    )


def route53(world: World) -> Service:
    cloud, zone = Region("aws", "ap-east-1", world.state.root), "route53.example"
    ids = {
        name: cloud.make("aws:route53/zone:Zone", name, name=name)
        for name in (zone, f"other-{zone}")
    }
    cloud.make("aws:iam/user:User", "acme", name="acme")
    policy = {"name": "acme", "user": "acme", "policy": permissions.route53(ids[zone])}
    cloud.make("aws:iam/userPolicy:UserPolicy", "acme", **policy)
    type = "aws:iam/accessKey:AccessKey"
    key = cloud.make(type, "acme", user="acme")
    return Service(
        provider="route53",
        variables={
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": cloud.output(type, key, "secret"),
            "AWS_REGION": "us-east-1",
        },
        secret="AWS_SECRET_ACCESS_KEY",
        key="AWS_ACCESS_KEY_ID",
        bad_signature="SignatureDoesNotMatch",
        bad_key="InvalidClientTokenId",
        forbidden="AccessDenied",
        pinned=(("AWS_HOSTED_ZONE_ID", ids[zone]),),
    )


@pytest.fixture(scope="module", params=[alidns, dnspod, route53], ids=lambda make: make.__name__)
def service(request: pytest.FixtureRequest, world: World) -> Service:
    make: Callable[[World], Service] = request.param
    return make(world)


def lego(
    world: World, folder: Path, name: str, *challenge: str, variables: dict[str, str] | None = None
) -> Done:
    """What lego says and how it ends when it is asked for a certificate."""
    account = ["--accept-tos", "--email", "ops@example.com", "--path", str(folder)]
    env = ["env", *(f"{key}={value}" for key, value in (variables or {}).items())]
    line = [*env, str(needs.artifact("lego")), *account, *challenge, "--domains", name, "run"]
    return world.operator.run(line, check=False, within=240)


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
