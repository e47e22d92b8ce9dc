"""The mesh: settings → topology → components → exports; nothing else."""

import gc

import pulumi

from components import configuration
from components.installation import Installation

gc.disable()  # the program lives for seconds; importing the SDKs would collect in vain

settings = configuration.load()
mesh = Installation(settings)

pulumi.export("server_url", f"https://{settings.server_name}")
pulumi.export("hosts", mesh.host_table)
pulumi.export("ca_certificate", mesh.ca_certificate)
pulumi.export("operators_key", mesh.operators_key)
pulumi.export("keys", mesh.keys)
