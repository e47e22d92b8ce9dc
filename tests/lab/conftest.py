"""Fixtures of the booted lab. `two_hosts`: a small world for the tests of lab/world."""

from tests.lab.pair import two_hosts

__all__ = ["two_hosts"]
