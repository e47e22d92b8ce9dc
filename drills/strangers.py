"""Two clients that Headscale does not know, and whether relays carry packets between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from drills.client import install
from lab.world.host import Host

_MAP: Final = "/run/strangers-map.json"
_KEY: Final = "/run/strangers-mesh.key"


def relayed(where: Host, regions: Mapping[str, Any], key: str = "") -> dict[str, bool]:
    """Which regions of a DERP map (by code) carry packets between two new keys; some 10 s.

    With the relays' own `key` they do, since relays let in whoever has it: so a "no" without it is
    a refusal, not a probe that failed.
    """
    install(where, "derpprobe")
    whole = {"Regions": {str(region["RegionID"]): region for region in regions.values()}}
    where.exec(["install", "-m", "644", "/dev/stdin", _MAP], stdin=json.dumps(whole))
    line = ["derpprobe", "-once", f"-derp-map=file://{_MAP}", "-interval=1s"]
    if key:
        where.exec(["install", "-m", "600", "/dev/stdin", _KEY], stdin=key)
        line.append(f"-mesh-psk-file={_KEY}")
    try:
        said = where.exec(line, check=False, within=120)
    finally:
        where.exec(["rm", "-f", _KEY])
    lines = (said.stdout + said.stderr).splitlines()
    return {
        code: any(line.startswith("good") and f"derp/{code}/" in line for line in lines)
        for code in regions
    }
