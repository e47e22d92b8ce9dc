"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is slow; that is no property of the code under test.
settings.register_profile("mesh", deadline=None)
settings.load_profile("mesh")
