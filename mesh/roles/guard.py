"""The guard of a control host: its program, its configuration, and the names by which it and
Headscale log into the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mesh import headscale, secrets
from mesh.bundle import Bundle, Directory, File, Unit
from mesh.roles import etcd, parts
from mesh.settings import Settings
from mesh.topology import Host, Topology

UNIT: Final = "mesh-guard.service"
CONFIG: Final = "/etc/mesh/guard.json"
PASSWORD: Final = "/etc/mesh/guard.password"
STATUS: Final = "/run/mesh-guard/status.json"
HOLD: Final = "/run/mesh-guard/hold.sock"
METRICS_PORT: Final = 9105
LIBRARY: Final = Directory(path="/usr/local/lib/mesh")
_PROGRAM: Final = "/usr/local/lib/mesh/guard"
_SOURCE: Final = Path(__file__).resolve().parents[2] / "guard"


def login(host: str) -> str:
    """The database role of the guard of a control host; the database's fence knows the host by
    it."""
    return f"guard_{host.replace('-', '_')}"


def headscale_login(host: str) -> str:
    """The database role of Headscale on a control host; the fence opens and closes it."""
    return f"headscale_{host.replace('-', '_')}"


# How long a silent holder keeps the lease, and how long before that its Headscale is dead; seconds.
_TIMINGS: Final = {"fast": {"lease": 5, "margin": 1.0}, "normal": {"lease": 10, "margin": 2.0}}


def bundle(
    settings: Settings,
    topology: Topology,
    host: Host,
    passwords: secrets.ControlPasswords,
    *reload_on: str,
) -> Bundle:
    """The unit that runs Headscale on one host at a time; `reload_on` are paths of what
    Headscale itself needs."""
    own = program()
    files = (
        *own.files,
        File(path=CONFIG, content=_configuration(settings, topology, host)),
        File(
            path=PASSWORD,
            content=passwords.guard + "\n",
            mode="0600",
            owner="headscale",
            group="headscale",
        ),
        # Here and not with Headscale's own files: the guard hands its environment down, and is
        # given it anew by a restart only.
        File(path=headscale.ENVIRONMENT, content=headscale.environment(settings)),
        parts.unit_file("control", UNIT),
    )
    return Bundle(
        directories=(LIBRARY, *own.directories),
        files=files,
        units=(
            Unit(
                name=UNIT,
                restart_on=(parts.CA, *(file.path for file in files)),
                reload_on=reload_on,
            ),
        ),
    )


def program(folder: str = "") -> Bundle:
    """The package `guard` where its units look for it, or one inside it: a folder of it."""
    path, source = (f"{_PROGRAM}/{folder}", _SOURCE / folder) if folder else (_PROGRAM, _SOURCE)
    return Bundle(
        directories=(Directory(path=path),),
        files=parts.package(source, path),
    )


def _configuration(settings: Settings, topology: Topology, host: Host) -> str:
    values = {
        "host": host.name,
        "peers": [peer.name for peer in topology.peers(host)],
        "endpoints": etcd.endpoints(topology),
        "prefix": "/mesh/headscale",
        "ca": parts.CA,
        "certificate": headscale.CERTIFICATE,
        "key": headscale.KEY,
        "database": (
            f"host={parts.POSTGRES_NAME} port=5432 dbname=headscale user={login(host.name)}"
            f" sslmode=verify-full sslrootcert={parts.CA}"
        ),
        "password_file": PASSWORD,
        "command": ["/usr/local/bin/headscale", "--config", headscale.CONFIG, "serve"],
        "probe": f"https://127.0.0.1:{headscale.PORT}/version",
        "probe_name": host.name,
        "metrics_address": str(host.address),
        "metrics_port": METRICS_PORT,
        "status_file": STATUS,
        "hold_socket": HOLD,
        "timing": _TIMINGS[settings.recovery],
    }
    return json.dumps(values, indent=2) + "\n"
