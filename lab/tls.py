"""The tls provider: keys, certificate requests and certificates, made with `cryptography`.

A certificate that has entered its early renewal period is replaced by the next `pulumi up`.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.checks import Problem
from lab.provider import Properties
from lab.resource import CloudError
from lab.stateless import Kind, Stateless

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = {
    "P224": ec.SECP224R1,
    "P256": ec.SECP256R1,
    "P384": ec.SECP384R1,
    "P521": ec.SECP521R1,
}
_NAMES: Final = {
    "serialNumber": NameOID.SERIAL_NUMBER,
    "country": NameOID.COUNTRY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "streetAddresses": NameOID.STREET_ADDRESS,
    "postalCode": NameOID.POSTAL_CODE,
    "commonName": NameOID.COMMON_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
}
# Use in `allowedUses` → flag of the key usage extension.
_KEY_USES: Final = {
    "digital_signature": "digital_signature",
    "content_commitment": "content_commitment",
    "key_encipherment": "key_encipherment",
    "data_encipherment": "data_encipherment",
    "key_agreement": "key_agreement",
    "cert_signing": "key_cert_sign",
    "crl_signing": "crl_sign",
    "encipher_only": "encipher_only",
    "decipher_only": "decipher_only",
}
_EXTENDED_USES: Final = {
    "any_extended": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp_signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}
_RENEWAL: Final = frozenset({"earlyRenewalHours", "readyForRenewal"})
_CERTIFICATE_DEFAULTS: Final = {
    "earlyRenewalHours": 0,
    "isCaCertificate": False,
    "setSubjectKeyId": False,
}


def handler() -> Stateless:
    """The handler for every type this module knows."""
    return Stateless(
        {
            "tls:index/privateKey:PrivateKey": Kind(
                _private_key, {"ecdsaCurve": "P224", "rsaBits": 2048}, rule=_check_key
            ),
            "tls:index/certRequest:CertRequest": Kind(_request, rule=_check_source),
            "tls:index/selfSignedCert:SelfSignedCert": Kind(
                _self_signed,
                {**_CERTIFICATE_DEFAULTS, "setAuthorityKeyId": False},
                in_place=_RENEWAL,
                rule=_check_certificate,
                expired=_expired,
            ),
            "tls:index/locallySignedCert:LocallySignedCert": Kind(
                _locally_signed,
                _CERTIFICATE_DEFAULTS,
                in_place=_RENEWAL,
                rule=_check_certificate,
                expired=_expired,
            ),
        }
    )


# Rules


def _check_key(inputs: Properties) -> list[Problem]:
    if inputs["algorithm"] not in {"RSA", "ECDSA", "ED25519"}:
        return [Problem("algorithm", "must be RSA, ECDSA or ED25519")]
    if inputs["ecdsaCurve"] not in _CURVES:
        return [Problem("ecdsaCurve", f"must be one of {', '.join(_CURVES)}")]
    return []


def _check_source(inputs: Properties) -> list[Problem]:
    """A private key must be given, in either of its two inputs."""
    for stem in ("privateKeyPem", "caPrivateKeyPem"):
        if inputs.get(stem) or inputs.get(f"{stem}Wo"):
            return []
    stem = "caPrivateKeyPem" if "caCertPem" in inputs else "privateKeyPem"
    return [Problem(stem, f"one of {stem} and {stem}Wo must be set")]


def _check_certificate(inputs: Properties) -> list[Problem]:
    known = {*_KEY_USES, *_EXTENDED_USES}
    unknown = [use for use in inputs["allowedUses"] if use not in known]
    problems = [Problem("allowedUses", f"{use!r} is not a known use") for use in unknown]
    if inputs["validityPeriodHours"] < 0:
        problems.append(Problem("validityPeriodHours", "must not be negative"))
    return problems + _check_source(inputs)


def _expired(outputs: Properties) -> str | None:
    """The output that says the certificate is due for renewal, if it is."""
    early = dt.timedelta(hours=outputs.get("earlyRenewalHours") or 0)
    end = dt.datetime.fromisoformat(outputs["validityEndTime"])
    return "readyForRenewal" if dt.datetime.now(dt.UTC) >= end - early else None


# Keys


def _private_key(inputs: Properties) -> Properties:
    key = _generate(inputs)
    pkcs8 = serialization.PrivateFormat.PKCS8
    # ED25519 has no format of its own: the provider falls back to PKCS#8.
    has_own = not isinstance(key, ed25519.Ed25519PrivateKey)
    own = serialization.PrivateFormat.TraditionalOpenSSL if has_own else pkcs8
    outputs = {
        **_public_outputs(key),
        "privateKeyPem": _private_text(key, own),
        "privateKeyPemPkcs8": _private_text(key, pkcs8),
    }
    if outputs["publicKeyOpenssh"]:
        openssh = serialization.PrivateFormat.OpenSSH
        outputs["privateKeyOpenssh"] = _private_text(key, openssh)
    return outputs


def _generate(inputs: Properties) -> PrivateKey:
    if inputs["algorithm"] == "ED25519":
        return ed25519.Ed25519PrivateKey.generate()
    if inputs["algorithm"] == "ECDSA":
        return ec.generate_private_key(_CURVES[inputs["ecdsaCurve"]]())
    return rsa.generate_private_key(public_exponent=65537, key_size=inputs["rsaBits"])


def _private_text(key: PrivateKey, format: serialization.PrivateFormat) -> str:
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, format, none).decode()


def _public_outputs(key: PrivateKey) -> Properties:
    public = key.public_key()
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    outputs = {
        "id": hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        "publicKeyPem": pem.decode(),
        "publicKeyOpenssh": "",
        "publicKeyFingerprintMd5": "",
        "publicKeyFingerprintSha256": "",
    }
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp224r1":
        return outputs  # OpenSSH has no such curve
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    md5, sha256 = _fingerprints(line)
    return {
        **outputs,
        "publicKeyOpenssh": line.decode() + "\n",
        "publicKeyFingerprintMd5": md5,
        "publicKeyFingerprintSha256": sha256,
    }


def _fingerprints(line: bytes) -> tuple[str, str]:
    blob = base64.b64decode(line.split()[1])
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return ":".join(md5[at : at + 2] for at in range(0, 32, 2)), f"SHA256:{sha256}"


def _load(inputs: Properties, stem: str) -> PrivateKey:
    text = inputs.get(stem) or inputs.get(f"{stem}Wo") or ""
    try:
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except ValueError as error:
        raise CloudError("InvalidKey", "is not a private key in PEM", stem) from error
    if not isinstance(
        key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    ):
        raise CloudError("InvalidKey", "must be an RSA, ECDSA or ED25519 key", stem)
    return key


def _algorithm(key: PrivateKey) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ED25519"
    return "ECDSA" if isinstance(key, ec.EllipticCurvePrivateKey) else "RSA"


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


# Certificates


def _subject(inputs: Properties) -> x509.Name:
    given = inputs.get("subject") or {}
    attributes = []
    for field, oid in _NAMES.items():
        values = given.get(field) or []
        for value in values if isinstance(values, list) else [values]:
            attributes.append(x509.NameAttribute(oid, value))
    return x509.Name(attributes)


def _alternative_names(inputs: Properties) -> x509.SubjectAlternativeName | None:
    names: list[x509.GeneralName] = [x509.DNSName(n) for n in inputs.get("dnsNames") or []]
    for text in inputs.get("ipAddresses") or []:
        names.append(x509.IPAddress(ipaddress.ip_address(text)))
    names += [x509.UniformResourceIdentifier(uri) for uri in inputs.get("uris") or []]
    return x509.SubjectAlternativeName(names) if names else None


def _request(inputs: Properties) -> Properties:
    key = _load(inputs, "privateKeyPem")
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(inputs))
    names = _alternative_names(inputs)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    request = builder.sign(key, _digest(key))
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    return {
        "id": hashlib.sha1(pem.encode(), usedforsecurity=False).hexdigest(),
        "certRequestPem": pem,
        "keyAlgorithm": _algorithm(key),
    }


def _self_signed(inputs: Properties) -> Properties:
    key = _load(inputs, "privateKeyPem")
    subject = _subject(inputs)
    builder = _builder(inputs).subject_name(subject).issuer_name(subject)
    builder = builder.public_key(key.public_key())
    names = _alternative_names(inputs)
    if names is not None:
        builder = builder.add_extension(names, critical=not list(subject))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    if inputs["setSubjectKeyId"] or inputs["isCaCertificate"]:
        builder = builder.add_extension(identifier, critical=False)
    if inputs["setAuthorityKeyId"]:
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = builder.add_extension(authority, critical=False)
    certificate = builder.sign(key, _digest(key))
    return {**_certificate_outputs(certificate), "keyAlgorithm": _algorithm(key)}


def _locally_signed(inputs: Properties) -> Properties:
    key = _load(inputs, "caPrivateKeyPem")
    try:
        request = x509.load_pem_x509_csr(inputs["certRequestPem"].encode())
    except ValueError as error:
        raise CloudError("InvalidRequest", "is not a request in PEM", "certRequestPem") from error
    try:
        issuer = x509.load_pem_x509_certificate(inputs["caCertPem"].encode())
    except ValueError as error:
        raise CloudError("InvalidCertificate", "is not one in PEM", "caCertPem") from error
    if issuer.public_key() != key.public_key():
        raise CloudError("KeyMismatch", "is not the key of caCertPem", "caPrivateKeyPem")
    builder = _builder(inputs).subject_name(request.subject).issuer_name(issuer.subject)
    builder = builder.public_key(request.public_key())
    for extension in request.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            critical = not list(request.subject)
            builder = builder.add_extension(extension.value, critical=critical)
    if inputs["setSubjectKeyId"] or inputs["isCaCertificate"]:
        own = x509.SubjectKeyIdentifier.from_public_key(request.public_key())
        builder = builder.add_extension(own, critical=False)
    builder = builder.add_extension(_authority(issuer), critical=False)
    certificate = builder.sign(key, _digest(key))
    return {**_certificate_outputs(certificate), "caKeyAlgorithm": _algorithm(key)}


def _authority(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    for extension in issuer.extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(extension.value)
    public: Any = issuer.public_key()
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def _builder(inputs: Properties) -> x509.CertificateBuilder:
    """Serial number, validity, uses and whether it is a CA."""
    start = dt.datetime.now(dt.UTC).replace(microsecond=0)
    end = start + dt.timedelta(hours=inputs["validityPeriodHours"])
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(end)
    uses = set(inputs["allowedUses"])
    if uses & {*_KEY_USES}:
        flags = {flag: use in uses for use, flag in _KEY_USES.items()}
        builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
    extended = [oid for use, oid in _EXTENDED_USES.items() if use in uses]
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    is_ca = inputs["isCaCertificate"]
    length = inputs.get("maxPathLength") if is_ca else None
    constraints = x509.BasicConstraints(ca=is_ca, path_length=length)
    return builder.add_extension(constraints, critical=True)


def _certificate_outputs(certificate: x509.Certificate) -> Properties:
    return {
        "id": str(certificate.serial_number),
        "certPem": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "readyForRenewal": False,
        "validityStartTime": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "validityEndTime": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
