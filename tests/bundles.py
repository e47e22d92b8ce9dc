"""The role bundles of a stack's hosts, made with secrets that a test can recognise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mesh import derp, secrets
from mesh.bundle import Bundle, File
from mesh.roles import control, database, ops, relay
from mesh.topology import Host
from tests import stacks

PASSWORDS: Final = secrets.DatabasePasswords(
    superuser="SuperuserPasswordOf32Characters0",
    replication="ReplicationPasswordOf32Chars0000",
    rewind="RewindPasswordOf32Characters0000",
    controls={
        name: secrets.ControlPasswords(
            headscale="HeadscalePasswordOf32Characters0", guard="GuardPasswordOf32CharactersLong0"
        )
        for name in ("hs-1", "hs-2")
    },
)
NOISE_KEY: Final = "privkey:" + "0123456789abcdef" * 4
PROGRAMS: Final = ("derper", "derpprobe", "etcd", "etcdctl", "headscale", "lego", "patroni")
ARTIFACTS: Final = {
    name: secrets.ArtifactSource(url=f"https://store.example.com/{name}", sha256="0" * 64)
    for name in PROGRAMS
}


MESH_KEY: Final = "fedcba9876543210" * 4
CREDENTIAL: Final = {"ALICLOUD_ACCESS_KEY": "KEY-ID", "ALICLOUD_SECRET_KEY": "SECRET OF THE ZONE"}
IPV6: Final = "2001:db8:5:100::10"
RELAYS: Final = derp.Nodes(
    addresses={
        f"derp-{code}": f"198.51.100.{number}"
        for number, code in enumerate(("bj", "sh", "hk", "sg"), start=1)
    },
    certificates={"derp-sh": f"sha256-raw:{'ab' * 32}"},
)


def certificate(name: str) -> secrets.Certificate:
    """A certificate that only looks like one."""
    return secrets.Certificate(
        ca="CERTIFICATE OF THE AUTHORITY\n",
        certificate=f"CERTIFICATE OF {name}\n",
        key=f"KEY OF {name}\n",
    )


def build(stack: str, name: str, changes: Mapping[str, Any] | None = None) -> Bundle:
    """The bundle of the host of that name."""
    host = stacks.build(stack, changes).host(name)
    return _BUILDERS[host.role](stack, host, changes)


def _control(stack: str, host: Host, changes: Mapping[str, Any] | None) -> Bundle:
    return control.bundle(
        stacks.load(stack, changes),
        stacks.build(stack, changes),
        host,
        PASSWORDS.controls[host.name],
        NOISE_KEY,
        certificate(host.name),
        CREDENTIAL,
        RELAYS,
        ARTIFACTS,
    )


def _database(stack: str, host: Host, changes: Mapping[str, Any] | None) -> Bundle:
    return database.bundle(
        stacks.load(stack, changes),
        stacks.build(stack, changes),
        host,
        PASSWORDS,
        certificate(host.name),
        ARTIFACTS,
    )


def _ops(stack: str, host: Host, changes: Mapping[str, Any] | None) -> Bundle:
    return ops.bundle(
        stacks.load(stack, changes),
        stacks.build(stack, changes),
        host,
        certificate(host.name),
        MESH_KEY,
        RELAYS,
        ARTIFACTS,
    )


def _relay(stack: str, host: Host, changes: Mapping[str, Any] | None) -> Bundle:
    settings = stacks.load(stack, changes)
    how = settings.relay(host.name).certificate
    return relay.bundle(
        settings,
        host,
        MESH_KEY,
        CREDENTIAL if how == "dns" else None,
        certificate(host.name) if how == "pinned" else None,
        ARTIFACTS,
        IPV6 if host.ipv6 else None,
    )


_BUILDERS: Final = {"control": _control, "database": _database, "ops": _ops, "relay": _relay}


def files(bundle: Bundle) -> dict[str, File]:
    """The bundle's files by path."""
    return {file.path: file for file in bundle.files}
