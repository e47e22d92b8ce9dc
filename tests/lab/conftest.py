"""Fixtures of the booted lab. `mesh`: the whole mesh; `plain`: a machine that may join it;
`two_hosts`: a small world for the tests of lab/world."""

from tests.lab.mesh import mesh
from tests.lab.pair import two_hosts
from tests.lab.plain import machine, machine_key, plain

__all__ = ["machine", "machine_key", "mesh", "plain", "two_hosts"]
