"""The mesh: settings → topology → components → exports; nothing else."""

import asyncio
import gc

import pulumi

from components import configuration, quiet
from components.installation import Installation


async def main() -> None:
    """Declares everything."""
    settings = configuration.load()
    mesh = Installation(settings)

    pulumi.export("server_url", f"https://{settings.server_name}")
    pulumi.export("active", settings.control.active)
    pulumi.export("hosts", mesh.host_table)
    pulumi.export("ca_certificate", mesh.ca_certificate)
    pulumi.export("operators_key", mesh.operators_key)
    pulumi.export("keys", mesh.keys)
    # Begin what is declared, so that the SDK waits for registrations one by one: otherwise it
    # waits for a thousand outputs at once, and anew after each of them.
    await asyncio.sleep(0)


gc.disable()  # the program lives for seconds; importing the SDKs would collect in vain
quiet.install()
pulumi.run(main)
