"""Local clouds: run any Pulumi program on one machine, on the real engine, with no cloud account.

`engine.Engine` installs simulated provider plugins (alicloud, tencentcloud, aws, command, random,
tls) into a private Pulumi home and runs programs there. `store.Store` shows what the simulated
clouds hold and arms faults in them.
"""
