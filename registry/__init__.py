"""What a control host does to the running Headscale: users, policy, keys, tags (`mesh-registry`).

Runs on the host's own Python (3.10 or later) with psycopg2 and cryptography from the
distribution; of this project it imports the guard only.
"""
