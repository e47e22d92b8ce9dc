"""Which relays are in the DERP map: those that work, or that an operator says.

On ops-1 `relays.watch` reads what derpprobe finds, decides, and publishes the decision in etcd;
`relays.command` is what an operator asks and overrides it with. On each control host `relays.map`
follows the decision and writes the map that Headscale reads.

Runs on the hosts' own Python (3.10 or later) with urllib3 from the distribution. Of this project
it imports `guard` only, for etcd's client.
"""
