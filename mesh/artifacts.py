"""The programs that hosts run: what was built, who needs it, where it is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mesh.capacity import Build
from mesh.catalogue import Cloud
from mesh.topology import Role, Topology

NEEDED: Final[dict[Role, tuple[str, ...]]] = {
    "control": ("headscale", "lego"),
    "database": ("etcd", "etcdctl", "patroni"),
    "ops": ("etcd", "etcdctl", "derpprobe"),
    "relay": ("derper", "lego"),
}
# What dist/ calls Headscale, by which build of it.
_HEADSCALE: Final[dict[Build, str]] = {
    "patched": "headscale",
    "stock": "headscale-stock",
}
# What machines fetch that join the mesh, from any store: clients/install.sh, and what it installs.
INSTALLER: Final = "install.sh"
CLIENT: Final[tuple[str, ...]] = ("tailscale", "tailscaled")
# OSS serves mainland hosts only by an endpoint that reaches no further than the region.
_STORE_IN_EACH_REGION: Final[frozenset[Cloud]] = frozenset({"alicloud"})


class ArtifactError(Exception):
    """The built programs are missing or incomplete."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One built program or archive. `key` is its name in a store."""

    name: str
    version: str
    sha256: str
    path: Path

    @property
    def key(self) -> str:
        """Where it is stored: by content, so that a key never changes its meaning."""
        return f"{self.sha256}/{self.path.name}"


@dataclass(frozen=True, kw_only=True)
class Store:
    """One bucket of artifacts and the hosts that fetch from it."""

    name: str  # "artifacts-alicloud-cn-beijing"
    cloud: Cloud
    region: str
    artifacts: tuple[str, ...]
    hosts: tuple[str, ...]

    @property
    def everywhere(self) -> bool:
        """Whether it can be reached from outside its region."""
        return self.cloud not in _STORE_IN_EACH_REGION


def load(path: Path, headscale: Build = "patched") -> dict[str, Artifact]:
    """The artifacts that dist/manifest.json lists, by name; "headscale" is the build that is asked
    for. ArtifactError when one is missing.
    """
    try:
        found = json.loads(path.read_text())
        artifacts = {
            name: Artifact(
                name=name,
                version=entry["version"],
                sha256=entry["sha256"],
                path=path.parent / entry["path"],
            )
            for name, entry in found.items()
            if entry["group"] == "product"
        }
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing; `make artifacts` builds it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path} is damaged ({error!r}); `make artifacts` rebuilds it"
        ) from error
    build = _HEADSCALE[headscale]
    _complete(path, artifacts, build)
    return {**artifacts, "headscale": replace(artifacts[build], name="headscale")}


def installer(path: Path) -> Artifact:
    """The script that puts a machine into the mesh. ArtifactError when it cannot be read."""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}; run this in the repository") from error
    return Artifact(name=INSTALLER, version=sha256[:12], sha256=sha256, path=path)


def _complete(path: Path, artifacts: Mapping[str, Artifact], build: str) -> None:
    named = {name for names in (*NEEDED.values(), CLIENT) for name in names}
    needed = named - {"headscale"} | {build}
    missing = sorted(
        name for name in needed if name not in artifacts or not artifacts[name].path.is_file()
    )
    if missing:
        raise ArtifactError(f"{path} lacks {', '.join(missing)}; `make artifacts` builds them")


def stores(topology: Topology) -> tuple[Store, ...]:
    """The stores of a topology: one a cloud, in the first region that is used there, or one a
    region where the cloud asks for it.
    """
    hosts: dict[tuple[Cloud, str], list[str]] = {}
    first: dict[Cloud, str] = {}
    for host in topology.hosts:  # the home region's hosts come first
        region = host.region
        if host.cloud not in _STORE_IN_EACH_REGION:
            region = first.setdefault(host.cloud, host.region)
        hosts.setdefault((host.cloud, region), []).append(host.name)
    return tuple(
        Store(
            name=f"artifacts-{cloud}-{region}",
            cloud=cloud,
            region=region,
            artifacts=_needed(topology, names),
            hosts=tuple(names),
        )
        for (cloud, region), names in hosts.items()
    )


def _needed(topology: Topology, hosts: list[str]) -> tuple[str, ...]:
    needed = {name for host in hosts for name in NEEDED[topology.host(host).role]}
    return tuple(sorted({*needed, *CLIENT, INSTALLER}))


def bucket_name(environment: str, zone: str, region: str) -> str:
    """A name that no one else's bucket has: the stack owns its DNS zone. COS allows 50 letters."""
    owner = hashlib.sha256(zone.encode()).hexdigest()[:8]
    return f"{environment}-mesh-{owner}-{region}"
