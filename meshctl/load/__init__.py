"""Many virtual nodes on one mesh: what they cost, and whether each knows whom it must know."""
