"""The operations command line: what a person at night asks of the mesh, and tells it."""
