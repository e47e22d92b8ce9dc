"""The arbiter on the operations host: how it finds etcd and Patroni, and when it acts."""

from __future__ import annotations

import json
from typing import Final

from mesh import secrets
from mesh.bundle import Bundle, Check, File, Unit, User
from mesh.roles import etcd, guard, parts, postgres
from mesh.settings import Settings
from mesh.topology import Host, Topology

UNIT: Final = "mesh-arbiter.service"
CONFIG: Final = "/etc/mesh/arbiter.json"
STATUS: Final = "/run/mesh-arbiter/status.json"
METRICS_PORT: Final = 9106
_USER: Final = "arbiter"
_PORTS: Final = (2379, 5432, 8008)  # of a database host: etcd, PostgreSQL, Patroni


def bundle(
    settings: Settings, topology: Topology, host: Host, certificate: secrets.Certificate
) -> Bundle:
    """The unit that lets the standby take over, where it is wanted."""
    if not settings.arbiter:
        return Bundle()
    own = (
        *parts.key_pair(_USER, _USER, certificate),
        File(path=CONFIG, content=_configuration(settings, topology, host)),
        parts.unit_file("ops", UNIT),
    )
    program = parts.join(
        Bundle(directories=(guard.LIBRARY,)), guard.program(), guard.program("arbiter")
    )
    paths = (parts.CA, *(file.path for file in (*program.files, *own)))
    wanted = Bundle(
        users=(User(name=_USER, home="/nonexistent"),),
        files=own,
        units=(Unit(name=UNIT, restart_on=paths),),
        checks=(_answers(),),
    )
    return parts.join(program, wanted)


def _configuration(settings: Settings, topology: Topology, host: Host) -> str:
    databases = [peer.name for peer in topology.having("database")]
    # Its own voter first: another's host may be the lost one.
    voters = sorted(etcd.endpoints(topology), key=lambda url: f"//{host.name}:" not in url)
    values = {
        "host": host.name,
        "endpoints": voters,
        "prefix": "/service/mesh",
        "intent": "/mesh/arbiter/intent",
        "ca": parts.CA,
        "certificate": f"{parts.TLS}/{_USER}.crt",
        "key": f"{parts.TLS}/{_USER}.key",
        "patroni": {name: f"https://{name}:8008" for name in databases},
        "ports": {name: [f"{name}:{port}" for port in _PORTS] for name in databases},
        "metrics_address": "127.0.0.1",
        "metrics_port": METRICS_PORT,
        "status_file": STATUS,
        "rules": rules(settings),
    }
    return json.dumps(values, indent=2) + "\n"


def rules(settings: Settings) -> dict[str, float]:
    """What follows from Patroni's timing, in seconds. A lease that is renewed in time never gets
    older than a loop; a renewal that fails is tried again for the time of a retry, and then
    Patroni gives the leadership up by itself. decision 10.
    """
    timing = postgres.timing(settings)
    return {
        "doubt": timing["loop_wait"] + 1.0,
        "unrenewed": float(timing["loop_wait"] + timing["retry_timeout"]),
    }


def _answers() -> Check:
    curl = ("/usr/bin/curl", "--silent", "--show-error", "--fail", "--max-time", "5")
    return Check(
        what="the arbiter shows its metrics",
        command=(*curl, "--output", "/dev/null", f"http://127.0.0.1:{METRICS_PORT}/metrics"),
        within_seconds=30,
        unit=UNIT,
    )
