"""What the mesh knows by name: users, access policy, pre-auth keys."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.commands import Step
from components.headscale import HeadscalePair
from components.outputs import secret
from mesh import registry

_SEAL_BYTES = 32  # a Fernet key


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """`declared` is what operators keep under policy/."""

    headscale: HeadscalePair
    declared: registry.Registry


class Registry(pulumi.ComponentResource):
    """Users, policy and keys, declared in policy/ and brought to the live server.

    `keys` maps a key's declared name to the key; it is secret.

    Produces: the key that seals what the database keeps of it, one command a control host.
    """

    keys: pulumi.Output[dict[str, str]]

    def __init__(
        self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:registry:Registry", name, None, opts)
        seal = random.RandomBytes(
            "registry-seal", length=_SEAL_BYTES, opts=pulumi.ResourceOptions(parent=self)
        )
        wanted = secret(seal.base64).apply(lambda key: args.declared.to_json(_url_safe(key)))
        # Side by side: the one that is active does the work, the other one waits for it.
        printed = [
            host.command(
                f"{host.spec.name}-registry",
                Step(
                    command="sudo mesh-registry",
                    stdin=wanted,
                    runs_again_with=[host.instance_id],
                    minutes=10,
                ),
                args.headscale.ready,
            ).stdout
            for host in args.headscale.hosts
        ]
        self.keys = secret(printed[0]).apply(lambda text: json.loads(text)["keys"] if text else {})
        self.register_outputs({"keys": self.keys})


def _url_safe(key: str) -> str:
    """Fernet's spelling of base64."""
    return key.translate(str.maketrans("+/", "-_"))
