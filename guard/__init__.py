"""The guard: at any time at most one control host runs Headscale.

Each control host runs one guard. It competes for a lease in etcd, and while it holds the lease it
runs Headscale as its child and kills it before the lease can end elsewhere. Before each start it
fences the other host off in the database, with the lease's revision as a token that only grows.

Runs on the host's own Python (3.10 or later) with psycopg2, urllib3 and prometheus_client from
the distribution; it imports nothing else of this project.
"""
