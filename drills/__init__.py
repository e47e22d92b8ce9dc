"""Drills: the whole mesh in use, and under faults, on the booted lab."""
