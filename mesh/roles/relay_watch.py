"""What keeps the DERP map to relays that work: probes and the decision on ops-1, the map that
Headscale reads on the control hosts, and the key by which a relay lets the probes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mesh import derp, headscale, templates
from mesh.bundle import Bundle, Check, Directory, File, Unit, User
from mesh.roles import etcd, parts
from mesh.settings import Settings
from mesh.topology import Topology

MESH_KEY: Final = "/etc/mesh/derp-mesh.key"
MAP_UNIT: Final = "mesh-relay-map.service"
AWAY_AFTER: Final = 180  # s; twelve probes: clients find another relay by themselves, much sooner
BACK_AFTER: Final = 60  # s

_PREFIX: Final = "/mesh/relays"
_LIBRARY: Final = "/usr/local/lib/mesh"
_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_FULL: Final = "/etc/headscale/derp-full.json"
_MAP_CONFIG: Final = "/etc/mesh/relay-map.json"
_PROBE_MAP: Final = "/etc/mesh/derp-probe.json"
_PROBE_UNIT: Final = "derpprobe.service"
_PROBE_ADDRESS: Final = "127.0.0.1:8030"
_WATCH_CONFIG: Final = "/etc/mesh/relays.json"
_WATCH_UNIT: Final = "mesh-relay-watch.service"
_COMMAND: Final = "/usr/local/sbin/mesh-relays"
_STATUS_FOLDER: Final = "/run/mesh-relays"
# Of the guard's program, which a control host has as a whole.
_SHARED: Final = ("__init__", "clock", "etcd", "trouble")


def key_file(mesh_key: str, group: str) -> File:
    """The file of derper's and derpprobe's -mesh-psk-file; `mesh_key` is 64 lower-case
    hexadecimal digits. Whoever has it may use the relays, and see who is connected to them."""
    return File(path=MESH_KEY, content=mesh_key + "\n", mode="0640", group=group)


def ops_part(
    settings: Settings,
    topology: Topology,
    relays: derp.Nodes,
    mesh_key: str,
    artifacts: parts.Sources,
) -> Bundle:
    """What ops-1 runs: derpprobe, the watcher, and the operator's command `mesh-relays`."""
    full = derp.full(settings, relays)
    return parts.join(_probes(full, mesh_key, artifacts), _watcher(settings, topology))


def _probes(full: Mapping[str, Any], mesh_key: str, artifacts: parts.Sources) -> Bundle:
    program = parts.program("derpprobe", artifacts)
    files = (
        key_file(mesh_key, "derpprobe"),
        File(path=_PROBE_MAP, content=_json(derp.for_probes(full))),
        parts.unit_file("ops", _PROBE_UNIT),
    )
    answers = Check(
        what="derpprobe answers",
        command=(
            *("/usr/bin/curl", "--silent", "--show-error", "--fail", "--max-time", "5"),
            f"http://{_PROBE_ADDRESS}/healthz",
        ),
        within_seconds=30,
        unit=_PROBE_UNIT,
    )
    return Bundle(
        users=(User(name="derpprobe", home="/nonexistent"),),
        artifacts=(program,),
        files=files,
        # It reads the map again by itself, but keeps a probe whose address has changed.
        units=(
            Unit(
                name=_PROBE_UNIT,
                restart_on=(program.path, parts.CA, *(file.path for file in files)),
            ),
        ),
        checks=(answers,),
    )


def _watcher(settings: Settings, topology: Topology) -> Bundle:
    key = f"{parts.TLS}/etcd.key"
    config = {
        "relays": {relay.code: relay.name for relay in settings.relays},
        "metrics": f"http://{_PROBE_ADDRESS}/debug/varz",
        "endpoints": etcd.endpoints(topology),
        "prefix": _PREFIX,
        "ca": parts.CA,
        "certificate": f"{parts.TLS}/etcd.crt",
        "key": key,
        "folder": _STATUS_FOLDER,
        "each": 5.0,
        "away_after": AWAY_AFTER,
        "back_after": BACK_AFTER,
    }
    files = (
        *_package("guard", *_SHARED),
        *_package("relays"),
        File(path=_WATCH_CONFIG, content=_json(config)),
        parts.unit_file("ops", _WATCH_UNIT),
    )
    command = File(path=_COMMAND, content=templates.text("ops", _COMMAND), mode="0755")
    tells = Check(
        what="mesh-relay-watch tells which relays are in the map",
        command=("/usr/bin/test", "-s", f"{_STATUS_FOLDER}/status.json"),
        within_seconds=30,
        unit=_WATCH_UNIT,
    )
    # The key is handed to the unit when it starts.
    restart_on = (*(file.path for file in files), parts.CA, key)
    return Bundle(
        users=(User(name="mesh-relays", home="/nonexistent"),),
        directories=_directories("guard", "relays"),
        files=(*files, command),
        units=(Unit(name=_WATCH_UNIT, restart_on=restart_on),),
        checks=(tells,),
    )


def control_part(settings: Settings, topology: Topology, relays: derp.Nodes) -> Bundle:
    """What a control host runs: the service that writes the map, `derp.MAP`.

    It goes before the guard's part, whose Headscale does not start without a map.
    """
    config = {
        "full": _FULL,
        "map": derp.MAP,
        "endpoints": etcd.endpoints(topology),
        "prefix": _PREFIX,
        "ca": parts.CA,
        "certificate": headscale.CERTIFICATE,
        "key": headscale.KEY,
    }
    files = (
        *_package("relays"),
        File(path=_FULL, content=_json(derp.full(settings, relays))),
        File(path=_MAP_CONFIG, content=_json(config)),
        parts.unit_file("control", MAP_UNIT),
    )
    is_there = Check(
        what="there is a DERP map for Headscale",
        command=("/usr/bin/test", "-s", derp.MAP),
        within_seconds=30,
        unit=MAP_UNIT,
    )
    return Bundle(
        directories=_directories("relays"),
        files=files,
        units=(
            Unit(
                name=MAP_UNIT,
                restart_on=(
                    *(file.path for file in files),
                    *(f"{_LIBRARY}/guard/{name}.py" for name in _SHARED),
                    parts.CA,
                ),
            ),
        ),
        checks=(is_there,),
    )


def _directories(*packages: str) -> tuple[Directory, ...]:
    return (
        Directory(path=_LIBRARY),
        *(Directory(path=f"{_LIBRARY}/{package}") for package in packages),
    )


def _package(name: str, *modules: str) -> tuple[File, ...]:
    """A program's modules on the host, all of them unless some are named."""
    return parts.package(_REPOSITORY / name, f"{_LIBRARY}/{name}", *modules)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
