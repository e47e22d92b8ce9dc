"""A database host: PostgreSQL under Patroni, with an etcd voter beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from mesh import secrets, templates
from mesh.bundle import Artifact, Bundle, Check, Directory, File, Unit
from mesh.roles import etcd, guard, parts, postgres
from mesh.settings import Settings
from mesh.topology import Host, Topology

_PATRONI = "/opt/patroni"
_CONFIG = "/etc/patroni/patroni.yml"
_DYNAMIC = "/etc/patroni/dynamic.yml"
_SCRIPT = "/usr/local/sbin/mesh-database"
_CLIENT = "/usr/local/bin/patronictl"
_FENCE = "/usr/local/share/mesh/fence.sql"
_UNIT = "patroni.service"


def bundle(
    settings: Settings,
    topology: Topology,
    host: Host,
    passwords: secrets.DatabasePasswords,
    certificate: secrets.Certificate,
    artifacts: parts.Sources,
) -> Bundle:
    """Everything that pg-1 or pg-2 runs. The packages of PostgreSQL are already there, and
    their own cluster is not running."""
    return parts.join(
        parts.tls_directory(certificate.ca),
        Bundle(files=(parts.hosts_file(topology),)),
        etcd.member(topology, host, certificate, artifacts),
        _patroni(settings, topology, host, passwords, certificate, artifacts),
    )


def cluster(settings: Settings, topology: Topology, passwords: secrets.DatabasePasswords) -> str:
    """What mesh-database reads on its standard input. The digests make it run again when one of
    the files that it applies has changed."""
    host = topology.having("database")[0]
    files = (_dynamic(settings, host), _fence())
    return json.dumps(
        {
            "superuser": passwords.superuser,
            "controls": {name: dataclasses.asdict(own) for name, own in passwords.controls.items()},
            "files": {
                file.path: hashlib.sha256(file.content.encode()).hexdigest() for file in files
            },
        },
        sort_keys=True,
    )


def _patroni(
    settings: Settings,
    topology: Topology,
    host: Host,
    passwords: secrets.DatabasePasswords,
    certificate: secrets.Certificate,
    artifacts: parts.Sources,
) -> Bundle:
    source = artifacts["patroni"]
    return Bundle(
        directories=_directories(settings),
        artifacts=(
            Artifact(
                name="patroni", url=source.url, sha256=source.sha256, path=_PATRONI, unpack=True
            ),
        ),
        files=(
            *parts.key_pair("postgres", "postgres", certificate),
            *_configuration(settings, topology, host, passwords),
            parts.unit_file("database", _UNIT),
            File(path=_SCRIPT, content=templates.text("database", _SCRIPT), mode="0755"),
            File(path=_CLIENT, content=templates.text("database", _CLIENT), mode="0755"),
            _fence(),
        ),
        units=(
            Unit(
                name=_UNIT,
                # A restart takes PostgreSQL down with it: only a new program or unit does.
                restart_on=(_PATRONI, parts.unit_path(_UNIT)),
                reload_on=(_CONFIG, parts.CA, f"{parts.TLS}/postgres.crt"),
            ),
        ),
        checks=(_ready(host),),
    )


def _directories(settings: Settings) -> tuple[Directory, ...]:
    """PostgreSQL's own directory is made by Patroni, in a parent that it may write."""
    version = postgres.VERSIONS[settings.os]
    return (
        Directory(path="/etc/patroni", mode="0750", group="postgres"),
        Directory(path="/var/lib/postgresql", owner="postgres", group="postgres"),
        Directory(path=f"/var/lib/postgresql/{version}", owner="postgres", group="postgres"),
    )


def _configuration(
    settings: Settings, topology: Topology, host: Host, passwords: secrets.DatabasePasswords
) -> tuple[File, ...]:
    version = postgres.VERSIONS[settings.os]
    member = templates.render(
        "database",
        _CONFIG,
        name=host.name,
        address=host.address,
        etcd_hosts=[f"{voter.name}:2379" for voter in topology.voters],
        data_dir=f"/var/lib/postgresql/{version}/mesh",
        bin_dir=f"/usr/lib/postgresql/{version}/bin",
        memory=postgres.memory(host.size),
        members=[f"{h.address}/32" for h in topology.having("database")],
        clients=_clients(topology),
        passwords=passwords,
        **_shared(settings, host),
    )
    return (
        File(path=_CONFIG, content=member, mode="0600", owner="postgres", group="postgres"),
        _dynamic(settings, host),
    )


def _shared(settings: Settings, host: Host) -> dict[str, dict[str, Any]]:
    return {"timing": postgres.timing(settings), "parameters": postgres.shared(host.size)}


def _dynamic(settings: Settings, host: Host) -> File:
    content = templates.render("database", _DYNAMIC, **_shared(settings, host))
    return File(path=_DYNAMIC, content=content)


def _fence() -> File:
    return File(path=_FENCE, content=templates.text("database", _FENCE))


def _clients(topology: Topology) -> list[tuple[str, str]]:
    """Who may log in from where: (role, source), two roles a control host."""
    return [
        (role, f"{host.address}/32")
        for host in topology.having("control")
        for role in (guard.headscale_login(host.name), guard.login(host.name))
    ]


def _ready(host: Host) -> Check:
    """Patroni answers 200 for a primary, and for a standby that streams."""
    return Check(
        what=f"PostgreSQL on {host.name} is the primary or streams from it",
        command=(
            "/usr/bin/curl",
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "5",
            "--cacert",
            parts.CA,
            f"https://{host.name}:8008/readiness",
        ),
        within_seconds=300,  # the other member may still be booting or copying
        unit=_UNIT,
    )
