"""The operations host: the third etcd voter, and the arbiter where it is wanted; the way in by
SSH is its user-data's."""

from __future__ import annotations

from mesh import secrets
from mesh.bundle import Bundle
from mesh.roles import arbiter, etcd, parts
from mesh.settings import Settings
from mesh.topology import Host, Topology


def bundle(
    settings: Settings,
    topology: Topology,
    host: Host,
    certificate: secrets.Certificate,
    artifacts: parts.Sources,
) -> Bundle:
    """Everything that ops-1 runs."""
    return parts.join(
        parts.tls_directory(certificate.ca),
        Bundle(files=(parts.hosts_file(topology),)),
        etcd.member(topology, host, certificate, artifacts),
        arbiter.bundle(settings, topology, host, certificate),
    )
