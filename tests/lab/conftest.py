"""Fixtures of the booted lab. `mesh`: the whole mesh; `two_hosts`: a small world for the tests of
lab/world."""

from tests.lab.mesh import mesh
from tests.lab.pair import two_hosts

__all__ = ["mesh", "two_hosts"]
