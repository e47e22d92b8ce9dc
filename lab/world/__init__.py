"""The lab's world: networks, hosts and public services on this machine, and nothing of clouds.

Start with `world.World`. What a world is declared to be is in `model`; what makes it real is in
`network` (routers, firewalls), `host` (nspawn) and `services` (names, packages, objects).
"""
