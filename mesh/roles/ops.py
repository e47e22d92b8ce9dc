"""The operations host: for now the third etcd voter."""

from __future__ import annotations

from mesh import bundle, secrets
from mesh.roles import etcd, parts
from mesh.settings import Settings
from mesh.topology import Host, Topology


def bundle_for(
    settings: Settings,
    topology: Topology,
    host: Host,
    certificate: secrets.Certificate,
    artifacts: parts.Sources,
) -> bundle.Bundle:
    """Everything that ops-1 runs."""
    return parts.join(
        parts.tls_directory(certificate.ca),
        bundle.Bundle(files=(parts.hosts_file(topology),)),
        etcd.member(topology, host, certificate, artifacts),
    )
