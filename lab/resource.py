"""What the simulated clouds hold, and what may happen outside them when it changes.

This module has no imports of its own kind, so that both sides of the lab (the provider
plugins that keep the books, the effects that boot hosts) can rely on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class CloudError(Exception):
    """The cloud refuses or fails; Pulumi shows it with the resource and the property.

    `code` is the cloud's short word ("InvalidVpcID.NotFound"), `property` the input at fault
    ("vpcId"), `details` what a person needs to go on, such as the tail of a log.

    Raised from `Effects.created`, `exists` decides what the next `pulumi up` finds. True (the
    default): the resource was made but is not ready; Pulumi records its id and the reason, the
    next `up` calls `created` again, `destroy` calls `deleted`. False: nothing was made; the
    resource is forgotten.
    """

    def __init__(
        self,
        code: str,
        message: str,
        property: str | None = None,
        details: str = "",
        *,
        exists: bool = True,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.property = property
        self.details = details
        self.exists = exists


@dataclass(frozen=True)
class Hidden:
    """What the store keeps in place of a secret: a salted digest, enough to see a change."""

    digest: str


@dataclass(frozen=True)
class Asset:
    """A file or text given to a resource, such as a bucket object's content.

    Exactly one of `path` (absolute) and `text` is set. `hash` is the engine's SHA-256 of the
    content, in hex.
    """

    path: str | None = None
    text: str | None = None
    hash: str = ""

    def read(self) -> bytes:
        """The content; FileNotFoundError when the file has gone since."""
        if self.text is not None:
            return self.text.encode()
        return Path(self.path or "").read_bytes()

    def digest(self) -> str:
        """SHA-256 of the content in hex, from the engine or else computed."""
        return self.hash or hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True)
class Resource:
    """One simulated cloud resource as the cloud has it.

    `inputs` and `outputs` have camelCase keys. Whole numbers are `int`, assets are `Asset`.
    Resources handed to `Effects` carry secrets in clear; those read from the store carry
    `Hidden` in their place.
    """

    cloud: str  # "alicloud", "tencentcloud" or "aws"
    region: str  # "global" for types without a region
    type: str  # Pulumi token, e.g. "aws:ec2/instance:Instance"
    id: str
    name: str  # Pulumi resource name, from the URN
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class Effects(Protocol):
    """What a change of a resource does to the world: hosts, addresses, DNS, objects.

    Calls arrive from several threads and several processes at once, each after the cloud's
    rules have passed and the store has the change. `outputs` already has what the cloud itself
    decides (ids, a free private address of the subnet, an address for an EIP). A mapping
    returned is merged over the outputs. Each call may raise `CloudError`.
    """

    def created(self, resource: Resource) -> Mapping[str, Any]:
        """Called again with the same id when an earlier call failed: must be repeatable."""
        ...

    def updated(self, before: Resource, after: Resource) -> Mapping[str, Any]:
        """`before` comes from the store (secrets hidden), `after` from the engine."""
        ...

    def deleted(self, resource: Resource) -> None:
        """Called before the store forgets the resource; must succeed when nothing is left."""
        ...
