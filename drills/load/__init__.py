"""Where a load is put: a plain Headscale of this machine, or the pair of a booted lab."""
