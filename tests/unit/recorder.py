"""Pulumi's mocks, remembering what a program asks for; no engine and no cloud takes part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pulumi
from pulumi.runtime import settings as engine

# A search for a domain finds others that contain its name.
_DOMAINS: Final = (("ops.example.com.cn", 76), ("ops.example.com", 77))


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Remembers each resource that was asked for, and answers as every cloud would at once.

    `answers` gives the outputs of a resource by its name, beside its inputs.
    """

    answers: Callable[[str], dict[str, Any]] = lambda name: {}
    made: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.made.append((args.typ, args.name, args.inputs))
        address = {"publicIp": "203.0.113.9", "ipAddress": "203.0.113.9"}
        ipv6 = {"ipv6CidrBlock": "2001:db8:9::/56"}
        return f"{args.name}-id", {**address, **ipv6, **self.answers(args.name), **args.inputs}

    def call(
        self, args: pulumi.runtime.MockCallArgs
    ) -> tuple[dict[Any, Any], list[tuple[str, str]]]:
        image = {"imageId": "image-1", "createdTime": "2026-01-01"}
        ids = {"id": "image-1", "ids": ["image-1"], "appId": "1250000000", "zoneId": "Z1"}
        domains = [{"name": name, "punycode": name, "domainId": id} for name, id in _DOMAINS]
        account = {"ownerUin": "100000000001", "uin": "100000000002"}
        cards = [{"id": "eni-2", "primary": False}, {"id": "eni-1", "primary": True}]
        lists = {"images": [image], "domainLists": domains, "enis": cards}
        return {**ids, **account, **lists}, []

    def of(self, part: str) -> list[dict[str, Any]]:
        """The inputs of every resource whose type contains `part`."""
        return [inputs for type, _, inputs in self.made if part.lower() in type.lower()]

    def named(self, type: str) -> dict[str, dict[str, Any]]:
        """The inputs of every resource of that type, by name."""
        return {name: inputs for kind, name, inputs in self.made if kind == type}

    def one(self, type: str) -> dict[str, Any]:
        """The inputs of the only resource of that type."""
        (found,) = self.named(type).values()
        return found

    def listen(self, project: str, stack: str) -> None:
        """Take the engine's place, with nothing left of an earlier test."""
        asyncio.set_event_loop(asyncio.new_event_loop())  # a failed test may leave tasks in the old
        engine.set_root_resource(cast(pulumi.Resource, None))  # exports leak otherwise
        pulumi.runtime.set_mocks(self, project=project, stack=stack, preview=False)


def run(program: Callable[[], Any]) -> None:
    """Run a program and wait until all of it has been registered."""
    test: Callable[[Callable[[], Any]], Callable[[], None]] = pulumi.runtime.test
    test(lambda: program())()
