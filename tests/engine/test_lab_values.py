"""Random values, keys and certificates: their form, and when they are made anew."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import asyncssh
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lab import randoms, tls, wire
from lab.provider import Properties, Target
from lab.resource import CloudError
from lab.stateless import Stateless


def make(handler: Stateless, type: str, **inputs: Any) -> Properties:
    """Revealed outputs of a new resource that its rules accept."""
    outputs = raw(handler, type, **inputs)
    revealed: Properties = wire.reveal(outputs)
    return revealed


def raw(handler: Stateless, type: str, **inputs: Any) -> Properties:
    target = Target(f"urn:pulumi:dev::trial::{type}::it")
    settled, problems = handler.check(target, {}, inputs)
    assert not problems
    _, outputs = handler.create(target, settled, partial=None)
    return outputs


def random(name: str, **inputs: Any) -> Properties:
    return make(randoms.handler(), f"random:index/random{name}:Random{name}", **inputs)


def tls_of(name: str, **inputs: Any) -> Properties:
    return make(tls.handler(), f"tls:index/{name[0].lower()}{name[1:]}:{name}", **inputs)


def test_a_password_has_its_length_and_its_minima() -> None:
    found = random("Password", length=20, minUpper=3, minNumeric=4, special=False, minLower=2)[
        "result"
    ]

    assert re.fullmatch("[A-Za-z0-9]{20}", found)
    assert len(re.findall("[A-Z]", found)) >= 3
    assert len(re.findall("[0-9]", found)) >= 4


def test_a_password_and_its_hash_are_secret() -> None:
    outputs = raw(randoms.handler(), "random:index/randomPassword:RandomPassword", length=8)

    assert isinstance(outputs["result"], wire.Secret)
    assert isinstance(outputs["bcryptHash"], wire.Secret)
    assert outputs["bcryptHash"].value.startswith("$2b$10$")


def test_other_special_characters_can_be_given() -> None:
    found = random("String", length=30, upper=False, lower=False, numeric=False,
                   overrideSpecial="-_")["result"]  # fmt: skip

    assert set(found) == {"-", "_"}


def test_the_small_kinds_have_their_forms() -> None:
    assert len(random("Bytes", length=9)["hex"]) == 18
    assert re.fullmatch("p-[0-9a-f]{8}", random("Id", byteLength=4, prefix="p-")["hex"])
    assert random("Integer", min=3, max=4)["result"] in {3, 4}
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", random("Uuid")["result"])


@pytest.mark.parametrize(
    ("inputs", "property"),
    [
        ({"length": 0}, "length"),
        ({"length": 3, "minLower": 4}, "length"),
        ({"length": 3, "lower": False, "upper": False, "numeric": False, "special": False},
         "special"),
        ({}, "length"),
        ({"length": 3, "keeper": {}}, "keeper"),
    ],
)  # fmt: skip
def test_an_impossible_password_is_refused(inputs: dict[str, Any], property: str) -> None:
    target = Target("urn:pulumi:dev::trial::random:index/randomPassword:RandomPassword::it")

    _, problems = randoms.handler().check(target, {}, inputs)

    assert [problem.property for problem in problems] == [property]


def test_a_changed_keeper_makes_a_new_value() -> None:
    target = Target("urn:pulumi:dev::trial::random:index/randomId:RandomId::it")
    old = {"byteLength": 4, "keepers": {"turn": "1"}}

    same = randoms.handler().diff(target, old, {}, dict(old))
    turned = randoms.handler().diff(target, old, {}, {**old, "keepers": {"turn": "2"}})

    assert not same.kinds
    assert turned.replaces == ("keepers.turn",)


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        ({"algorithm": "ED25519"}, "ssh-ed25519"),
        ({"algorithm": "ECDSA", "ecdsaCurve": "P256"}, "ecdsa-sha2-nistp256"),
        ({"algorithm": "RSA", "rsaBits": 2048}, "ssh-rsa"),
    ],
)
def test_a_key_is_one_key_in_every_format(inputs: dict[str, Any], kind: str) -> None:
    found = tls_of("PrivateKey", **inputs)

    opened = asyncssh.import_private_key(found["privateKeyOpenssh"])
    public = opened.export_public_key().decode().split()[:2]
    assert found["publicKeyOpenssh"].split()[:2] == public
    assert public[0] == kind
    assert found["publicKeyFingerprintSha256"] == opened.get_fingerprint()
    assert found["privateKeyPemPkcs8"].startswith("-----BEGIN PRIVATE KEY-----")
    assert re.fullmatch("([0-9a-f]{2}:){15}[0-9a-f]{2}", found["publicKeyFingerprintMd5"])


def authority() -> tuple[str, str]:
    """Key and certificate of a certificate authority."""
    key = tls_of("PrivateKey", algorithm="ECDSA", ecdsaCurve="P256")["privateKeyPem"]
    cert = tls_of(
        "SelfSignedCert",
        privateKeyPem=key,
        isCaCertificate=True,
        allowedUses=["cert_signing", "crl_signing"],
        validityPeriodHours=48,
        subject={"commonName": "lab", "organization": "ops"},
    )
    return key, cert["certPem"]


def test_an_authority_signs_a_request() -> None:
    ca_key, ca_cert = authority()
    key = tls_of("PrivateKey", algorithm="RSA")["privateKeyPem"]
    request = tls_of(
        "CertRequest",
        privateKeyPem=key,
        subject={"commonName": "db"},
        dnsNames=["db.example.com"],
        ipAddresses=["10.0.0.5"],
    )

    found = tls_of(
        "LocallySignedCert",
        certRequestPem=request["certRequestPem"],
        caPrivateKeyPem=ca_key,
        caCertPem=ca_cert,
        validityPeriodHours=24,
        allowedUses=["server_auth", "client_auth", "digital_signature"],
    )

    cert = x509.load_pem_x509_certificate(found["certPem"].encode())
    issuer = x509.load_pem_x509_certificate(ca_cert.encode())
    cert.verify_directly_issued_by(issuer)
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["db.example.com"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5"]
    assert cert.not_valid_after_utc - cert.not_valid_before_utc == dt.timedelta(hours=24)
    assert found["validityEndTime"] == cert.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert found["caKeyAlgorithm"] == "ECDSA"
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    own = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert own.key_identifier == issuer_id


def test_an_authority_may_sign_and_a_server_may_not() -> None:
    _, ca_cert = authority()
    key = tls_of("PrivateKey", algorithm="ED25519")["privateKeyPem"]
    plain = tls_of(
        "SelfSignedCert", privateKeyPem=key, allowedUses=["server_auth"], validityPeriodHours=1
    )

    def is_ca(pem: str) -> bool:
        cert = x509.load_pem_x509_certificate(pem.encode())
        return cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    assert is_ca(ca_cert)
    assert not is_ca(plain["certPem"])


def test_the_key_of_another_authority_is_refused() -> None:
    _, ca_cert = authority()
    other_key, _ = authority()
    key = tls_of("PrivateKey", algorithm="ED25519")["privateKeyPem"]
    request = tls_of("CertRequest", privateKeyPem=key)["certRequestPem"]

    with pytest.raises(CloudError) as refused:
        tls_of(
            "LocallySignedCert",
            certRequestPem=request,
            caPrivateKeyPem=other_key,
            caCertPem=ca_cert,
            validityPeriodHours=1,
            allowedUses=["server_auth"],
        )

    assert refused.value.property == "caPrivateKeyPem"


@pytest.mark.parametrize(("early", "renewed"), [(1, False), (24, True)])
def test_a_certificate_is_replaced_once_its_renewal_is_due(early: int, renewed: bool) -> None:
    type = "tls:index/selfSignedCert:SelfSignedCert"
    key = tls_of("PrivateKey", algorithm="ED25519")["privateKeyPem"]
    inputs = {
        "privateKeyPem": key,
        "allowedUses": ["server_auth"],
        "validityPeriodHours": 24,
        "earlyRenewalHours": early,
    }
    outputs = make(tls.handler(), type, **inputs)

    changes = tls.handler().diff(
        Target(f"urn:pulumi:dev::trial::{type}::it"), inputs, outputs, inputs
    )

    assert bool(changes.replaces) == renewed


def test_key_types_are_what_they_say() -> None:
    from cryptography.hazmat.primitives import serialization

    text = tls_of("PrivateKey", algorithm="RSA", rsaBits=3072)["privateKeyPem"]
    key = serialization.load_pem_private_key(text.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 3072
    text = tls_of("PrivateKey", algorithm="ECDSA", ecdsaCurve="P384")["privateKeyPem"]
    other = serialization.load_pem_private_key(text.encode(), None)
    assert isinstance(other, ec.EllipticCurvePrivateKey)
    assert isinstance(other.curve, ec.SECP384R1)
