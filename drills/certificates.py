"""A host's public certificate near its end: how it is two months after it was issued."""

from __future__ import annotations

import json
from typing import Final

from lab.world.authority import authority
from lab.world.host import Host

AGE_DAYS: Final = 65  # of the ninety that Let's Encrypt gives
LEFT_DAYS: Final = 25  # under a third of the life
_CONFIG: Final = "/etc/mesh/certificate.json"
_FOLDER: Final = "/var/lib/mesh-certificate/certificates"
_KEY: Final = "-----BEGIN PRIVATE KEY-----"


def age(host: Host) -> None:
    """Put a certificate that ends in LEFT_DAYS where the last one is, and show it to the world.

    It bears the host's own names, and the lab's public CA vouches for it. Whatever asked for the
    last one stays as it is, so that its age is the only reason to renew it.
    """
    config = json.loads(host.exec(["cat", _CONFIG]).stdout)
    pair = authority().issue(config["names"], days=LEFT_DAYS, age_days=AGE_DAYS).decode()
    chain, _, key = pair.partition(_KEY)
    parts = {"certificate": chain, "key": _KEY + key}
    name = config["names"][0].replace("*", "_")  # as lego names its files
    _rewrite(host, f"{_FOLDER}/{name}.crt", parts["certificate"])
    _rewrite(host, f"{_FOLDER}/{name}.key", parts["key"])
    for file in config["files"]:
        _rewrite(host, file["path"], "".join(parts[part] for part in file["holds"]))
    host.exec(["systemctl", *config["tell"]])


def renew(host: Host) -> None:
    """One run of the service, as its timer starts it."""
    host.exec(["systemctl", "start", "mesh-certificate"], within=300)


def challenge(host: Host) -> str:
    """How the host proves that the name is its own, in words."""
    kind, what, *_ = json.loads(host.exec(["cat", _CONFIG]).stdout)["challenge"]
    return f"DNS-01 at {what}" if kind == "--dns" else "HTTP-01"


def _rewrite(host: Host, path: str, content: str) -> None:
    """Another content for a file that is there; owner and mode stay."""
    host.exec(["sh", "-euc", 'test -f "$1" && cat >"$1"', "sh", path], stdin=content)
