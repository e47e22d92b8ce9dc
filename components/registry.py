"""What the mesh knows by name: users, access policy, pre-auth keys."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from components.commands import Step
from components.headscale import HeadscalePair
from components.outputs import secret
from mesh import registry


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """`declared` is what operators keep under policy/."""

    headscale: HeadscalePair
    declared: registry.Registry


class Registry(pulumi.ComponentResource):
    """Users, policy and keys, declared in policy/ and brought to the live server.

    `keys` maps a key's declared name to the key; it is secret.

    Produces: one command on the active control host.
    """

    keys: pulumi.Output[dict[str, str]]

    def __init__(
        self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:registry:Registry", name, None, opts)
        active = args.headscale.active
        step = Step(
            command="sudo mesh-registry",
            stdin=args.declared.to_json(),
            runs_again_with=[active.instance_id],
            minutes=5,
        )
        command = active.command("mesh-registry", step, args.headscale.ready)
        self.keys = secret(command.stdout).apply(
            lambda text: json.loads(text)["keys"] if text else {}
        )
        self.register_outputs({"keys": self.keys})
