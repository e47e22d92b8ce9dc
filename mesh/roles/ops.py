"""The operations host: the third etcd voter, and the arbiter where it is wanted; the way in by
SSH is its user-data's."""

from __future__ import annotations

from mesh import derp, secrets
from mesh.bundle import Bundle
from mesh.roles import arbiter, etcd, parts, relay_watch
from mesh.settings import Settings
from mesh.topology import Host, Topology


def bundle(
    settings: Settings,
    topology: Topology,
    host: Host,
    certificate: secrets.Certificate,
    mesh_key: str,
    relays: derp.Nodes,
    artifacts: parts.Sources,
) -> Bundle:
    """Everything that ops-1 runs. `mesh_key` lets it probe the relays."""
    return parts.join(
        parts.tls_directory(certificate.ca),
        Bundle(files=(parts.hosts_file(topology),)),
        etcd.member(topology, host, certificate, artifacts),
        arbiter.bundle(settings, topology, host, certificate),
        relay_watch.ops_part(settings, topology, relays, mesh_key, artifacts),
    )
