"""The lab's public test CA: what Let's Encrypt and the clouds' own CAs are to real hosts.

One for all labs of a user, because images carry it in their trust store.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.world.state import cache, write_text

_NAME: Final = "Lab Public Test CA"
_AUTHORITY_DAYS: Final = 3650
_CERTIFICATE_DAYS: Final = 397  # the longest that browsers accept
_SIGNS: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder: ca.pem, and ca.key readable by its owner only."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA's certificate in hex."""
        loaded = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        return loaded.fingerprint(hashes.SHA256()).hex()

    def issue(
        self, names: Sequence[str], *, days: int = _CERTIFICATE_DAYS, age_days: int = 0
    ) -> bytes:
        """A server's certificate for DNS names and IP addresses, and its key, in one PEM.

        It ends in `days`, and was issued `age_days` ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = (
            self._signed(days, _subject(names[0]), key.public_key(), age_days)
            .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(usage, False)
            .sign(self._key(), hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + _pem(key)

    def cross_sign(self, root: bytes) -> bytes:
        """A certificate for another CA (PEM) that makes it trusted where this one is."""
        other = x509.load_pem_x509_certificate(root)
        known = other.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        key = other.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("the other CA's key is not an elliptic curve key")
        certificate = (
            self._signed(_CERTIFICATE_DAYS, other.subject, key)
            .add_extension(known.value, False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .add_extension(_SIGNS, True)
            .sign(self._key(), hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _signed(
        self, days: int, subject: x509.Name, key: ec.EllipticCurvePublicKey, age_days: int = 0
    ) -> x509.CertificateBuilder:
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)
        return (
            _builder(days, age_days)
            .subject_name(subject)
            .issuer_name(issuer.subject)
            .public_key(key)
            .add_extension(identifier, False)
        )

    def _key(self) -> ec.EllipticCurvePrivateKey:
        text = (self.folder / "ca.key").read_bytes()
        key = serialization.load_pem_private_key(text, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.folder}/ca.key is not an elliptic curve key")
        return key


def authority() -> Authority:
    """The CA of this user's labs, made when first asked for."""
    found = Authority(cache() / "ca")
    with _alone(found.folder):
        if not found.certificate.exists():
            _create(found)
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(new: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_AUTHORITY_DAYS)
        .subject_name(_subject(_NAME))
        .issuer_name(_subject(_NAME))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(_SIGNS, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    write_text(new.folder / "ca.key", _pem(key).decode())
    write_text(
        new.certificate, certificate.public_bytes(serialization.Encoding.PEM).decode(), 0o644
    )


def _builder(days: int, age_days: int = 0) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=age_days, hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])  # 64: RFC 5280


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
