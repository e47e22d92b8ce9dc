"""The stack's own certificate authority, for everything that only our hosts talk to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_tls as tls

from mesh.secrets import Certificate

_AUTHORITY_HOURS = 10 * 365 * 24
_LEAF_HOURS = 365 * 24
_RENEWAL_HOURS = 60 * 24  # `pulumi up` renews a certificate that has less than this left


@dataclass(frozen=True, kw_only=True)
class CertificateNames:
    """Who a certificate speaks for; the first DNS name is its subject."""

    dns: Sequence[str]
    addresses: Sequence[str] = ()


class Authority(pulumi.ComponentResource):
    """A certificate authority whose key never leaves the encrypted state.

    Produces: a key, a self-signed CA certificate, and per `issue` a key, a request and a
    certificate valid for a year.
    """

    certificate: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mesh:certificates:Authority", name, None, opts)
        self._name = name
        child = pulumi.ResourceOptions(parent=self)
        self._key = tls.PrivateKey(f"{name}-ca", algorithm="ECDSA", ecdsa_curve="P256", opts=child)
        authority = tls.SelfSignedCert(
            f"{name}-ca",
            private_key_pem=self._key.private_key_pem,
            subject=tls.SelfSignedCertSubjectArgs(common_name=f"{name} internal CA"),
            is_ca_certificate=True,
            set_subject_key_id=True,
            set_authority_key_id=True,
            allowed_uses=["cert_signing", "crl_signing"],
            validity_period_hours=_AUTHORITY_HOURS,
            opts=child,
        )
        self.certificate = authority.cert_pem
        self.register_outputs({"certificate": self.certificate})

    def issue(self, name: str, names: CertificateNames) -> pulumi.Output[Certificate]:
        """A certificate for servers and clients alike: etcd members are both to each other."""
        child = pulumi.ResourceOptions(parent=self)
        key = tls.PrivateKey(name, algorithm="ECDSA", ecdsa_curve="P256", opts=child)
        request = tls.CertRequest(
            name,
            private_key_pem=key.private_key_pem,
            subject=tls.CertRequestSubjectArgs(common_name=names.dns[0]),
            dns_names=list(names.dns),
            ip_addresses=list(names.addresses),
            opts=child,
        )
        leaf = tls.LocallySignedCert(
            name,
            cert_request_pem=request.cert_request_pem,
            ca_private_key_pem=self._key.private_key_pem,
            ca_cert_pem=self.certificate,
            allowed_uses=["digital_signature", "key_encipherment", "server_auth", "client_auth"],
            set_subject_key_id=True,
            validity_period_hours=_LEAF_HOURS,
            early_renewal_hours=_RENEWAL_HOURS,
            opts=child,
        )
        return pulumi.Output.all(self.certificate, leaf.cert_pem, key.private_key_pem).apply(
            lambda parts: Certificate(ca=parts[0], certificate=parts[1], key=parts[2])
        )


def pinned(name: str, dns_name: str, opts: pulumi.ResourceOptions) -> pulumi.Output[Certificate]:
    """A certificate that vouches for itself: whoever relies on it knows it by its hash."""
    key = tls.PrivateKey(f"{name}-pinned", algorithm="ECDSA", ecdsa_curve="P256", opts=opts)
    made = tls.SelfSignedCert(
        f"{name}-pinned",
        private_key_pem=key.private_key_pem,
        subject=tls.SelfSignedCertSubjectArgs(common_name=dns_name),
        dns_names=[dns_name],
        allowed_uses=["digital_signature", "server_auth"],
        validity_period_hours=_AUTHORITY_HOURS,
        opts=opts,
    )
    return pulumi.Output.all(made.cert_pem, key.private_key_pem).apply(
        lambda parts: Certificate(ca=parts[0], certificate=parts[0], key=parts[1])
    )
