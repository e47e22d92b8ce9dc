"""Carry changes of resources into the world; one lock for what is shared, none while booting."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from lab.effects import alicloud, aws, tencentcloud
from lab.effects.view import Types, View, content_of
from lab.resource import CloudError, Resource
from lab.store import Store
from lab.world import disk
from lab.world.errors import HostError, WorldError
from lab.world.host import Disk, Host, HostSpec
from lab.world.model import Part
from lab.world.state import read_json, write_json
from lab.world.world import World


@dataclass(frozen=True)
class Cloud:
    """What each cloud's file offers."""

    types: Types
    part: Callable[[View], Part]  # everything the cloud declares
    label: Callable[[Resource], str]  # what people call a host
    host: Callable[[View, Resource], HostSpec]  # to build from an instance with its secrets


CLOUDS: Final[Mapping[str, Cloud]] = {
    "alicloud": Cloud(alicloud.TYPES, alicloud.part, alicloud.label, alicloud.host),
    "tencentcloud": Cloud(
        tencentcloud.TYPES, tencentcloud.part, tencentcloud.label, tencentcloud.host
    ),
    "aws": Cloud(aws.TYPES, aws.part, aws.label, aws.host),
}


@dataclass
class Book:
    """What the effects remember besides the store.

    `gone` are resources that are being deleted: the store still has them for a moment, and
    another call in that moment must not bring them back.
    """

    host_names: dict[str, str] = field(default_factory=dict)  # by the instance's id
    digests: dict[str, str] = field(default_factory=dict)  # by the object's id
    gone: list[str] = field(default_factory=list)


class WorldEffects:
    """`lab.resource.Effects` on a running world."""

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        self._book = _book_of(world)

    def created(self, resource: Resource) -> Mapping[str, Any]:
        cloud = CLOUDS[resource.cloud]
        with _as_cloud_errors():
            self._change(resource, there=True)
            if resource.type == cloud.types.instance:
                self._boot(cloud, resource)
            elif resource.type == cloud.types.volume:
                self._make_volume(resource)
            elif resource.type == cloud.types.volume_attachment:
                self._attach(cloud, resource)
        return {}

    def updated(self, before: Resource, after: Resource) -> Mapping[str, Any]:
        with _as_cloud_errors():
            self._change(after, there=True)
            if after.type == CLOUDS[after.cloud].types.volume:
                disk.grow(self._volume(after.id), _size(after))
        return {}

    def deleted(self, resource: Resource) -> None:
        cloud = CLOUDS[resource.cloud]
        with _as_cloud_errors():
            if resource.type == cloud.types.instance:
                self._host(resource.id).remove()
            elif resource.type == cloud.types.volume_attachment:
                self._detach(cloud, resource)
            elif resource.type == cloud.types.volume:
                self._volume(resource.id).unlink(missing_ok=True)
            self._change(resource, there=False)

    # What is declared

    def _change(self, resource: Resource, *, there: bool) -> None:
        """Declare the cloud anew with the resource there, or gone."""
        cloud = CLOUDS[resource.cloud]
        if resource.type not in cloud.types.declared:
            return
        with self._world.state.lock():
            book = Book(**read_json(self._book, {}))
            self._mark(book, resource, there)
            present = self._present(book, resource, there)
            self._name_hosts(book, cloud, present)
            if not there:
                book.host_names.pop(resource.id, None)
                book.digests.pop(resource.id, None)
            if there and resource.type in cloud.types.objects:
                book.digests[resource.id] = self._keep(content_of(resource))
            view = View(tuple(present), book.host_names, book.digests)
            self._world.declare(resource.cloud, cloud.part(view))
            write_json(self._book, asdict(book))

    def _mark(self, book: Book, resource: Resource, there: bool) -> None:
        known = {_key(found) for found in self._store.all()}
        gone = ({*book.gone} & known) - {_key(resource)}
        book.gone = sorted(gone if there else gone | {_key(resource)})

    def _present(self, book: Book, resource: Resource, there: bool) -> list[Resource]:
        found = [r for r in self._store.all(resource.cloud) if _key(r) not in book.gone]
        if not there:
            return found
        # The one at hand still has its secrets.
        others = [r for r in found if _key(r) != _key(resource)]
        return [*others, resource]

    def _name_hosts(self, book: Book, cloud: Cloud, present: list[Resource]) -> None:
        """Each instance keeps the name it once got; a second of the same name gets a suffix."""
        for instance in (found for found in present if found.type == cloud.types.instance):
            if instance.id not in book.host_names:
                name = cloud.label(instance)
                taken = {*book.host_names.values(), *(h.name for h in self._world.hosts())}
                book.host_names[instance.id] = (
                    f"{name}-{instance.id[-4:]}" if name in taken else name
                )

    def _keep(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = self._world.state.objects / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest

    # What is done

    def _boot(self, cloud: Cloud, instance: Resource) -> None:
        book = Book(**read_json(self._book, {}))
        view = View(tuple(self._store.all(instance.cloud)), book.host_names, book.digests)
        spec = cloud.host(view, instance)
        host = Host(self._world.state, spec.name)
        if host.exists():
            if host.booted() and host.running():
                return  # an earlier call came this far
            host.remove()
        self._world.create_host(spec)

    def _host(self, instance: str) -> Host:
        book = Book(**read_json(self._book, {}))
        return Host(self._world.state, book.host_names.get(instance, instance))

    def _volume(self, id: str) -> Path:
        return self._world.state.volumes / f"{id}.img"

    def _make_volume(self, volume: Resource) -> None:
        if not self._volume(volume.id).exists():
            disk.create(self._volume(volume.id), _size(volume))

    def _attach(self, cloud: Cloud, link: Resource) -> None:
        volume = self._volume(str(link.outputs[cloud.types.volume_key]))
        with self._world.state.lock():
            host = self._host(str(link.outputs["instanceId"]))
            used = {known.device for known in host.disks()}
            if volume.stem not in {known.id for known in host.disks()}:
                device = next(free for free in cloud.types.devices if free not in used)
                host.attach_disk(Disk(id=volume.stem, device=device, file=str(volume)))

    def _detach(self, cloud: Cloud, link: Resource) -> None:
        with self._world.state.lock():
            host = self._host(str(link.outputs["instanceId"]))
            if host.exists():
                host.detach_disk(str(link.outputs[cloud.types.volume_key]))


def instance_of(world: World, host: str) -> str | None:
    """The id of the instance that a host of the world is; None when it is no cloud's."""
    book = Book(**read_json(_book_of(world), {}))
    return next((id for id, name in book.host_names.items() if name == host), None)


def _book_of(world: World) -> Path:
    return world.state.root / "effects.json"


def _key(resource: Resource) -> str:
    return f"{resource.cloud} {resource.type} {resource.id}"


def _size(volume: Resource) -> int:
    """GiB; the clouds' providers name it differently."""
    return int(volume.outputs.get("size") or volume.outputs.get("storageSize") or 20)


@contextmanager
def _as_cloud_errors() -> Iterator[None]:
    """The world's errors as the engine shows a cloud's."""
    try:
        yield
    except HostError as error:
        reason = f"the host {error.host} {error.reason}"
        raise CloudError("HostFailed", reason, details=error.console) from error
    except WorldError as error:
        raise CloudError("LabError", error.message, details=error.hint) from error
