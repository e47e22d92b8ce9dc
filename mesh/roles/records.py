"""The extra DNS records of a control host: the file that Headscale watches, and what keeps it up
to date."""

from __future__ import annotations

import json
from typing import Final

from mesh import headscale
from mesh.bundle import Bundle, Check, File, Unit
from mesh.roles import parts
from mesh.settings import MagicDns

SERVICE: Final = "mesh-records.service"
TIMER: Final = "mesh-records.timer"
_CONFIG: Final = "/etc/mesh/records.json"


def bundle(dns: MagicDns) -> Bundle:
    """It goes before the guard's part, whose Headscale does not start without the file."""
    files = (
        File(path=_CONFIG, content=_json(configuration(dns))),
        parts.unit_file("control", SERVICE),
        parts.unit_file("control", TIMER),
    )
    is_there = Check(
        what="there are extra records for Headscale",
        command=("/usr/bin/test", "-s", headscale.EXTRA_RECORDS),
        within_seconds=30,
        unit=SERVICE,
    )
    return Bundle(
        files=files,
        units=(
            # Ends at once, so each bundle runs it: a changed record is there now.
            Unit(name=SERVICE),
            Unit(name=TIMER, restart_on=(parts.unit_path(TIMER),)),
        ),
        checks=(is_there,),
    )


def configuration(dns: MagicDns) -> dict[str, object]:
    """What registry/records.py reads."""
    fixed = [
        {"name": name, "type": "A" if address.version == 4 else "AAAA", "value": str(address)}
        for name, target in dns.records.items()
        for address in target.addresses
    ]
    nodes = {name: target.node for name, target in dns.records.items() if target.node}
    return {"file": headscale.EXTRA_RECORDS, "fixed": fixed, "nodes": nodes}


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
