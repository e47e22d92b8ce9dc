"""A small world for tests/lab/test_world_*.py: two hosts in one subnet, booted once a session.

`front` has a public address and lets everyone in by SSH; `back` has none, leaves through a NAT
gateway, installs a package at first boot and has a data disk.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.world.command import Done
from lab.world.host import Disk, Host, HostSpec
from lab.world.model import (
    Attachment,
    Bucket,
    Group,
    Network,
    Part,
    Record,
    Rule,
    StoredObject,
    Subnet,
)
from lab.world.world import World
from tests import needs

OWNER = "test"
FRONT_PUBLIC = "198.18.200.5"
NAT_PUBLIC = "198.18.200.9"
FRONT_USER_DATA = b"""#cloud-config
write_files:
- {path: /etc/greeting, content: from user-data}
"""
BACK_USER_DATA = b"""#cloud-config
package_update: true
packages: [hello]
fs_setup:
- {device: /dev/vdb, filesystem: ext4, label: data, partition: none}
mounts:
- [/dev/vdb, /data]
"""
OBJECT = "0f" * 32  # names of contents are checked by nobody but the store


@dataclass(frozen=True)
class TwoHosts:
    """The session's world."""

    world: World
    front: Host
    back: Host
    key: Path

    def ssh(self, login: str, *line: str) -> Done:
        """The result of a command over SSH from the operator's workstation."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"]
        flags = [word for option in options for word in ("-o", option)]
        return self.world.operator.run(["ssh", "-i", str(self.key), *flags, login, *line])


def network(*, nat: str | None = NAT_PUBLIC, direct: bool = True) -> Network:
    """The network of both hosts; the arguments say how its one subnet gets out."""
    subnet = Subnet(id="one", cidr="10.0.1.0/24", gateway="10.0.1.1", nat=nat, direct=direct)
    ssh = Rule(direction="in", protocol="tcp", ports=(22, 22))
    inner = Rule(direction="in", protocol="tcp", ports=(22, 22), peer="group:outer")
    out = Rule(direction="out")
    return Network(
        id="test",
        cidrs=("10.0.0.0/16",),
        subnets=(subnet,),
        groups=(Group(id="outer", rules=(ssh, out)), Group(id="inner", rules=(inner, out))),
        attachments=(
            Attachment(
                host="front",
                subnet="one",
                address="10.0.1.10",
                groups=("outer",),
                public=FRONT_PUBLIC,
            ),
            Attachment(host="back", subnet="one", address="10.0.1.11", groups=("inner",)),
        ),
    )


def declaration(*networks: Network, records: tuple[Record, ...] = ()) -> Part:
    """Everything the tests declare, with other networks or more names where they need them."""
    own = (
        Record(name="front.example", type="A", value=FRONT_PUBLIC, zone="example"),
        Record(name="*.apps.example", type="CNAME", value="front.example", zone="example"),
    )
    objects = (
        StoredObject(key="public/a.txt", digest=OBJECT, content_type="text/plain", public=True),
        StoredObject(key="private/a.txt", digest=OBJECT),
    )
    bucket = Bucket(
        name="test-bucket",
        endpoints=("test-bucket.oss-cn-beijing.aliyuncs.com",),
        internal_endpoints=("test-bucket.oss-cn-beijing-internal.aliyuncs.com",),
        objects=objects,
    )
    return Part(networks=networks or (network(),), records=own + records, buckets=(bucket,))


@pytest.fixture(scope="session")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    """The running world of the session; each test leaves it as it was."""
    needs.root("hosts are booted")
    needs.programs("mmdebstrap", "nft", "ssh", "ssh-keygen", "systemd-nspawn")
    folder = tmp_path_factory.mktemp("world")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    world = World.start(folder / "state")
    try:
        yield _boot(world, key)
    finally:
        world.stop()


def _boot(world: World, key: Path) -> TwoHosts:
    world.state.objects.mkdir()
    (world.state.objects / OBJECT).write_text("content of the object\n")
    world.declare(OWNER, declaration())
    public = (key.with_suffix(".pub").read_text().strip(),)
    disks = (Disk(id="data", device="vdb", gigabytes=1),)
    specs = (
        HostSpec(name="front", user_data=FRONT_USER_DATA, public_keys=public, login="admin"),
        HostSpec(name="back", user_data=BACK_USER_DATA, public_keys=public, disks=disks),
    )
    with ThreadPoolExecutor() as pool:
        front, back = pool.map(world.create_host, specs)
    front.wait_cloud_init()
    back.wait_cloud_init()
    return TwoHosts(world, front, back, key)
