"""The public APIs of Alidns, DNSPod and Route 53, as far as ACME clients need them.

At their real names, over HTTPS: signatures are checked, and what the user's policies do not
allow is refused in the service's own words. Records made here are answered by the name server
beside those that were declared, until they are deleted here.
"""
