"""What the control hosts do with users, keys, policy, addresses and records of Headscale."""
