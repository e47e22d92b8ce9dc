"""The mesh: settings → policy → topology → components → exports; nothing else."""

import gc

import pulumi

gc.disable()  # the program lives for seconds; importing the SDKs would collect in vain

from components import configuration, policy_check, quiet  # noqa: E402 - after the line above
from components.installation import Installation  # noqa: E402
from mesh import access  # noqa: E402


async def main() -> None:
    """Declares everything."""
    settings = configuration.load()
    policy = await policy_check.passed(
        settings.headscale_build
    )  # before the engine is sent anything
    mesh = await Installation.build(settings)

    pulumi.export("server_url", f"https://{settings.server_name}")
    pulumi.export("protect", settings.protect)
    pulumi.export("hosts", mesh.host_table)
    pulumi.export("bastion", mesh.bastion)
    pulumi.export("operators_key", mesh.operators_key)
    pulumi.export("keys", mesh.keys)
    pulumi.export("api_keys", mesh.api_keys)
    pulumi.export("clients", mesh.clients)
    pulumi.export("access", access.reach(policy))
    pulumi.export("peers", mesh.peers)


quiet.install()
pulumi.run(main)
