"""The plan of addresses, placed: each node gets an address of the range that claims it.

Headscale 0.29 hands out whatever is free and has no call to change it. While it runs it writes
whole rows from its own memory, so they are changed while the guard keeps it stopped.
"""
