"""What the mesh knows by name: users, access policy, pre-auth keys."""

from __future__ import annotations

import datetime
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

    `keys` maps a pre-auth key's declared name to the key, `api_keys` an API key's; both are secret.

    Produces: the key that seals what the database keeps of it, one command a control host.
    """

    keys: pulumi.Output[dict[str, str]]
    api_keys: pulumi.Output[dict[str, str]]

    def __init__(
        self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:registry:Registry", name, None, opts)
        seal = random.RandomBytes(
            "registry-seal", length=_SEAL_BYTES, opts=pulumi.ResourceOptions(parent=self)
        )
        wanted = secret(seal.base64).apply(
            lambda key: args.declared.to_json(_url_safe(key), _week())
        )
        # Side by side: the one that is active does the work, the other one waits for it.
        printed = [
            host.command(
                f"{host.spec.name}-registry",
                Step(
                    command="sudo mesh-registry apply",
                    stdin=wanted,
                    runs_again_with=[host.instance_id],
                    minutes=10,
                ),
                args.headscale.ready,
            ).stdout
            for host in args.headscale.hosts
        ]
        self.keys = _part(printed[0], "keys")
        self.api_keys = _part(printed[0], "api_keys")
        self.register_outputs({"keys": self.keys, "api_keys": self.api_keys})


def _week() -> str:
    """This week as ISO 8601 names it: once in each, `up` looks for keys that are due."""
    return datetime.datetime.now(datetime.UTC).strftime("%G-W%V")


def _part(printed: pulumi.Output[str], name: str) -> pulumi.Output[dict[str, str]]:
    """A part of what mesh-registry printed; nothing at a preview."""
    return secret(printed).apply(lambda text: json.loads(text)[name] if text else {})


def _url_safe(key: str) -> str:
    """Fernet's spelling of base64."""
    return key.translate(str.maketrans("+/", "-_"))
