"""What a cloud tells a new host: user-data, its name, its keys, its address (NoCloud)."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.world import addresses
from lab.world.model import Attachment, Subnet

FOLDER: Final = "var/lib/cloud/seed/nocloud"


@dataclass(frozen=True, kw_only=True)
class Seed:
    """The files of a NoCloud seed. `login` is the account the image's maker sets up: root,
    admin or debian, after the cloud.
    """

    user_data: bytes
    instance_id: str
    hostname: str
    public_keys: tuple[str, ...]
    login: str
    place: Attachment
    subnet: Subnet

    def write(self, root: Path) -> None:
        """Put the files where cloud-init of the tree at `root` looks for them."""
        folder = root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        files = {
            "user-data": self.user_data,
            "meta-data": _yaml(self._meta_data()),
            "vendor-data": b"#cloud-config\n" + _yaml(self._vendor_data()),
            "network-config": _yaml(self._network()),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def _meta_data(self) -> dict[str, Any]:
        return {
            "instance-id": self.instance_id,
            "local-hostname": self.hostname,
            "public-keys": list(self.public_keys),
        }

    def _vendor_data(self) -> dict[str, Any]:
        """The one thing the clouds' own Debian images differ in: who logs in with the key."""
        return {
            "disable_root": self.login != "root",
            "system_info": {"default_user": {"name": self.login}},
        }

    def _network(self) -> dict[str, Any]:
        length = ipaddress.ip_network(self.subnet.cidr).prefixlen
        own = [f"{self.place.address}/{length}"]
        ways = [{"to": "0.0.0.0/0", "via": self.subnet.gateway}]
        if self.place.ipv6:
            own.append(f"{self.place.ipv6}/128")
            ways.append({"to": "::/0", "via": addresses.GATEWAY6})
        card = {
            "addresses": own,
            "routes": ways,
            "accept-ra": False,  # waiting for a router that is silent would cost 13 s of each boot
            "nameservers": {"addresses": [addresses.NAMESERVER]},
        }
        return {"version": 2, "ethernets": {self.place.interface: card}}


def _yaml(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"  # JSON is YAML
