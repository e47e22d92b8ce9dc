"""Parts that several roles share: units, trust, certificates, names, programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mesh import bundle, secrets, templates
from mesh.topology import Topology

TLS: Final = "/etc/mesh/tls"
CA: Final = f"{TLS}/ca.crt"
# The name by which a control host reaches the primary through its own proxy.
POSTGRES_NAME: Final = "postgres.mesh.internal"

Sources = Mapping[str, secrets.ArtifactSource]


def join(*parts: bundle.Bundle) -> bundle.Bundle:
    """One bundle with everything of `parts`, in their order."""
    return bundle.Bundle(
        users=tuple(user for part in parts for user in part.users),
        directories=tuple(directory for part in parts for directory in part.directories),
        artifacts=tuple(artifact for part in parts for artifact in part.artifacts),
        files=tuple(file for part in parts for file in part.files),
        units=tuple(unit for part in parts for unit in part.units),
        checks=tuple(check for part in parts for check in part.checks),
    )


def unit_path(name: str) -> str:
    """Where the unit of that name lives on the host."""
    return f"/etc/systemd/system/{name}"


def unit_file(role: str, name: str) -> bundle.File:
    """The unit file of that name."""
    return bundle.File(path=unit_path(name), content=templates.text(role, unit_path(name)))


def tls_directory(ca: str) -> bundle.Bundle:
    """The directory of certificates with the authority that signs for the mesh's own hosts."""
    return bundle.Bundle(
        directories=(bundle.Directory(path="/etc/mesh"), bundle.Directory(path=TLS)),
        files=(bundle.File(path=CA, content=ca),),
    )


def key_pair(name: str, owner: str, certificate: secrets.Certificate) -> tuple[bundle.File, ...]:
    """A certificate and its key, which only `owner` may read."""
    return (
        bundle.File(path=f"{TLS}/{name}.crt", content=certificate.certificate),
        bundle.File(
            path=f"{TLS}/{name}.key",
            content=certificate.key,
            mode="0600",
            owner=owner,
            group=owner,
        ),
    )


def hosts_file(topology: Topology, *extra: str) -> bundle.File:
    """/etc/hosts with every host of the home network, so that their names need no DNS."""
    lines = [
        "# Written by mesh; changes here are lost.",
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        *extra,
        *(f"{host.address} {host.name}" for host in topology.hosts if host.network == "home"),
    ]
    return bundle.File(path="/etc/hosts", content="\n".join(lines) + "\n")


def program(name: str, sources: Sources) -> bundle.Artifact:
    """The executable /usr/local/bin/`name`."""
    source = sources[name]
    return bundle.Artifact(
        name=name, url=source.url, sha256=source.sha256, path=f"/usr/local/bin/{name}"
    )


def package(source: Path, path: str, *modules: str) -> tuple[bundle.File, ...]:
    """The modules of a folder here in a folder of the host, all of them unless some are named."""
    return tuple(
        bundle.File(path=f"{path}/{file.name}", content=file.read_text(encoding="utf-8"))
        for file in sorted(source.glob("*.py"))
        if not modules or file.stem in modules
    )
