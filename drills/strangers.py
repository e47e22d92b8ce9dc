"""Two clients that Headscale does not know, and whether relays carry packets between them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from drills.client import install
from lab.world.host import Host

_MAP: Final = "/run/strangers-map.json"
_KEY: Final = "/run/strangers-mesh.key"
_RESULT: Final = re.compile(r"\b(good|bad): derp/([^/ ]+)/[^/ ]+/[^/ ]+/mesh\b")


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
    return carried(said.stdout + said.stderr, regions)


def carried(said: str, codes: Iterable[str]) -> dict[str, bool]:
    """Which regions carried packets, by the words of `derpprobe -once`. Raises ValueError."""
    results = {(code, word) for word, code in _RESULT.findall(said)}
    untried = [code for code in codes if not {(code, "good"), (code, "bad")} & results]
    if untried:
        raise ValueError(f"derpprobe did not try {', '.join(untried)}: {said[-1000:]}")
    return {code: (code, "good") in results for code in codes}
