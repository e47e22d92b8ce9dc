"""One member of the three-voter etcd cluster that decides which database host writes."""

from __future__ import annotations

from mesh import bundle, secrets, templates
from mesh.roles import parts
from mesh.topology import Host, Topology

_CONFIG = "/etc/etcd/etcd.yml"
_UNIT = "etcd.service"
_JOIN = "/usr/local/sbin/mesh-etcd-join"
_CLIENT = "/usr/local/bin/mesh-etcdctl"


def endpoints(topology: Topology) -> list[str]:
    """Where clients find the voters, one URL each."""
    return [f"https://{voter.name}:2379" for voter in topology.voters]


def member(
    topology: Topology,
    host: Host,
    certificate: secrets.Certificate,
    artifacts: parts.Sources,
) -> bundle.Bundle:
    """The etcd member of `host`. All three are applied at once: each waits for a quorum."""
    config = templates.render(
        "etcd",
        _CONFIG,
        name=host.name,
        address=host.address,
        initial_cluster=",".join(f"{h.name}=https://{h.address}:2380" for h in topology.voters),
    )
    client = templates.render("etcd", _CLIENT, endpoints=",".join(endpoints(topology)))
    etcd, etcdctl = parts.program("etcd", artifacts), parts.program("etcdctl", artifacts)
    return bundle.Bundle(
        users=(bundle.User(name="etcd", home="/var/lib/etcd"),),
        directories=(bundle.Directory(path="/etc/etcd"),),
        artifacts=(etcd, etcdctl),
        files=(
            *parts.key_pair("etcd", "etcd", certificate),
            bundle.File(path=_CONFIG, content=config),
            bundle.File(path=_JOIN, content=templates.text("etcd", _JOIN), mode="0755"),
            bundle.File(path=_CLIENT, content=client, mode="0755"),
            parts.unit_file("etcd", _UNIT),
        ),
        units=(
            bundle.Unit(
                name=_UNIT,
                # New certificates are read at the next handshake; a new authority is not.
                restart_on=(etcd.path, _CONFIG, parts.CA, parts.unit_path(_UNIT)),
            ),
        ),
        checks=(_healthy(host),),
    )


def _healthy(host: Host) -> bundle.Check:
    return bundle.Check(
        what=f"the etcd member of {host.name} agrees with a quorum",
        command=(
            "/usr/local/bin/etcdctl",
            f"--endpoints=https://{host.address}:2379",
            f"--cacert={parts.CA}",
            f"--cert={parts.TLS}/etcd.crt",
            f"--key={parts.TLS}/etcd.key",
            "endpoint",
            "health",
        ),
        within_seconds=300,  # the other voters may still be booting
        unit=_UNIT,
    )
