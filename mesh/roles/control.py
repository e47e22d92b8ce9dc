"""A control host: the public entry, the way to the database, and the guard that runs Headscale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mesh import capacity, derp, headscale, secrets, templates
from mesh.bundle import Bundle, Check, Directory, File, Unit, User
from mesh.roles import addresses, certificate, guard, parts, records, relay_watch
from mesh.settings import Settings
from mesh.topology import Host, Topology

_PUBLIC: Final = "/etc/mesh/public"
_ENTRY_PEM: Final = f"{_PUBLIC}/entry.pem"
_ENTRY_UNIT: Final = "haproxy-entry.service"
_REGISTRY: Final = "/usr/local/sbin/mesh-registry"
_KEYS: Final = "mesh-keys.timer"
_REGISTRY_LIBRARY: Final = f"{guard.LIBRARY.path}/registry"
_REGISTRY_SOURCE: Final = Path(__file__).resolve().parents[2] / "registry"
_STEWARD: Final = "/usr/local/sbin/mesh-entry"
_STEWARD_CONFIG: Final = "/etc/mesh/entry.json"
_STEWARD_UNIT: Final = "mesh-entry.service"


def bundle(
    settings: Settings,
    topology: Topology,
    host: Host,
    passwords: secrets.ControlPasswords,
    noise_key: str,
    own: secrets.Certificate,
    credential: certificate.Credential,
    relays: derp.Nodes,
    artifacts: parts.Sources,
) -> Bundle:
    """Everything that hs-1 or hs-2 runs.

    `own` is the host's own certificate; `credential` lets it get that of the public name.
    `noise_key` is "privkey:" and 64 hexadecimal digits, the same on both hosts. The database must
    be up.
    """
    return parts.join(
        parts.tls_directory(own.ca),
        Bundle(files=(parts.hosts_file(topology, f"127.0.0.1 {parts.POSTGRES_NAME}"),)),
        _proxy("postgres", databases=topology.having("database")),
        relay_watch.control_part(settings, topology, relays),
        records.bundle(settings.magic_dns),
        _headscale(settings, topology, host, passwords, noise_key, own, artifacts),
        _public_certificate(settings, credential, artifacts),
        _entry(settings, topology),
        _steward(settings, topology, host),
        _registry(),
        addresses.bundle(settings, host, passwords),
        Bundle(checks=_checks(settings, host)),
    )


def _proxy(name: str, /, **values: object) -> Bundle:
    """One of the two HAProxy instances; a changed configuration cuts no connection."""
    config, unit = f"/etc/haproxy/{name}.cfg", f"haproxy-{name}.service"
    return Bundle(
        files=(
            File(path=config, content=templates.render("control", config, **values)),
            parts.unit_file("control", unit),
        ),
        units=(
            Unit(
                name=unit,
                restart_on=(parts.unit_path(unit),),
                reload_on=(config, parts.CA),
            ),
        ),
    )


def _public_certificate(
    settings: Settings, credential: certificate.Credential, artifacts: parts.Sources
) -> Bundle:
    """Of the server's name and all names below it, so always by DNS-01."""
    file = certificate.Installed(path=_ENTRY_PEM, holds=("certificate", "key"))
    names = [settings.server_name, f"*.{settings.server_name}"]
    folder = Directory(path=_PUBLIC, mode="2750", group="haproxy")
    return parts.join(
        Bundle(directories=(folder,)),
        certificate.bundle(
            settings,
            names,
            [file],
            ("try-reload-or-restart", _ENTRY_UNIT),
            credential,
            artifacts,
        ),
    )


def _entry(settings: Settings, topology: Topology) -> Bundle:
    return _proxy(
        "entry",
        server_name=settings.server_name,
        connections=capacity.connections(settings.control.headscale.memory_gib),
        arrivals=capacity.arrivals(settings.expected_nodes),
        storm_seconds=capacity.STORM_SECONDS,
        inside=settings.control.cidr,
        controls=topology.having("control"),
    )


def _registry() -> Bundle:
    """The operator's command for users, policy, keys and nodes, and what it is made of."""
    command = File(path=_REGISTRY, content=templates.text("control", _REGISTRY), mode="0755")
    folders = {part: f"{_REGISTRY_LIBRARY}{part}" for part in ("", "/addresses")}
    modules = [
        file
        for part, folder in folders.items()
        for file in parts.package(Path(f"{_REGISTRY_SOURCE}{part}"), folder)
    ]
    units = (parts.unit_file("control", "mesh-keys.service"), parts.unit_file("control", _KEYS))
    return Bundle(
        directories=tuple(Directory(path=folder) for folder in folders.values()),
        files=(*modules, command, *units),
        units=(Unit(name=_KEYS, restart_on=(parts.unit_path(_KEYS),)),),
    )


def _steward(settings: Settings, topology: Topology, host: Host) -> Bundle:
    """What keeps clients' streams off the host whose loss matters most."""
    values = {
        "host": host.name,
        "peers": {peer.name: str(peer.address) for peer in topology.peers(host)},
        "server_name": settings.server_name,
        "inside": str(settings.control.cidr),
        "socket": "/run/haproxy-entry/admin.sock",
        "ca": "/etc/ssl/certs/ca-certificates.crt",
    }
    files = (
        File(path=_STEWARD, content=templates.text("control", _STEWARD), mode="0755"),
        File(path=_STEWARD_CONFIG, content=json.dumps(values, indent=2) + "\n"),
        parts.unit_file("control", _STEWARD_UNIT),
    )
    unit = Unit(name=_STEWARD_UNIT, restart_on=tuple(file.path for file in files))
    return Bundle(files=files, units=(unit,))


def _headscale(
    settings: Settings,
    topology: Topology,
    host: Host,
    passwords: secrets.ControlPasswords,
    noise_key: str,
    certificate: secrets.Certificate,
    artifacts: parts.Sources,
) -> Bundle:
    program = parts.program("headscale", artifacts)
    login = headscale.Login(
        host=parts.POSTGRES_NAME,
        user=guard.headscale_login(host.name),
        password=passwords.headscale,
    )
    config = headscale.configuration(settings, topology, login)
    files = (
        *parts.key_pair("headscale", "headscale", certificate),
        File(path=headscale.CONFIG, content=config, mode="0640", group="headscale"),
        File(path=headscale.NOISE_KEY, content=noise_key, mode="0640", group="headscale"),
    )
    own = Bundle(
        users=(User(name="headscale", home="/var/lib/headscale"),),
        directories=(
            Directory(path="/etc/headscale", mode="0750", group="headscale"),
            Directory(path="/var/lib/mesh", mode="0700"),
        ),
        artifacts=(program,),
        files=files,
    )
    paths = (program.path, *(file.path for file in files))
    return parts.join(own, guard.bundle(settings, topology, host, passwords, *paths))


def _checks(settings: Settings, host: Host) -> tuple[Check, ...]:
    curl = ("/usr/bin/curl", "--silent", "--show-error", "--fail", "--max-time", "5")
    redirects = Check(
        what=f"the entry proxy of {host.name} redirects to HTTPS",
        command=(*curl, "--output", "/dev/null", "http://127.0.0.1/"),
        within_seconds=30,
        unit=_ENTRY_UNIT,
    )
    serves = Check(
        what=f"Headscale answers through the entry of {host.name}, with its database",
        command=(
            *curl,
            "--resolve",
            f"{settings.server_name}:443:127.0.0.1",
            f"https://{settings.server_name}/health",
        ),
        within_seconds=120,  # the first start creates the tables
        unit=guard.UNIT,
    )
    return (redirects, serves)
