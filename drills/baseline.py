"""The design to compare with: what one would set up without a guard and with Patroni's defaults.

Headscale is a plain unit with Restart=always on one host; the other one waits for an operator,
who is not played here. Patroni has its own defaults and replicates asynchronously.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from drills.mesh import Mesh
from lab.world.command import until

HOME: Final = "hs-1"  # where Headscale runs
IMPOSSIBLE: Final = frozenset({"guard-stopped", "guard-frozen"})  # it has no guard
_UNIT: Final = "headscale.service"
_GUARD: Final = "mesh-guard.service"
_PATH: Final = f"/etc/systemd/system/{_UNIT}"
_DEFAULTS: Final = {  # https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
    "ttl": "30",
    "loop_wait": "10",
    "retry_timeout": "10",
    "primary_start_timeout": "300",
    "synchronous_mode": "false",
    "failsafe_mode": "false",
}
_TEXT: Final = """\
[Unit]
Wants=network-online.target haproxy-postgres.service
After=network-online.target haproxy-postgres.service
StartLimitIntervalSec=0
[Service]
User=headscale
Environment=PGSSLROOTCERT=/etc/mesh/tls/ca.crt
ExecStart={command}
Restart=always
RestartSec=1
RuntimeDirectory=headscale
StateDirectory=headscale
LimitNOFILE=65536
[Install]
WantedBy=multi-user.target
"""


@contextmanager
def applied(mesh: Mesh) -> Iterator[None]:
    """The mesh so while this is entered, and as it was afterwards."""
    try:
        _apply(mesh)
        yield
    finally:
        restore(mesh)


def _apply(mesh: Mesh) -> None:
    for name in mesh.controls:
        if name != HOME:
            mesh.host(name).exec(["systemctl", "disable", "--now", "--quiet", _GUARD])
    until(  # so that the database lets this host in
        lambda: mesh.guard(HOME).get("role") == "active",
        within=60,
        what=f"{HOME} active",
        seen=lambda: str(mesh.guard(HOME)),
    )
    host = mesh.host(HOME)
    command = shlex.join(json.loads(mesh.file(HOME, "/etc/mesh/guard.json"))["command"])
    host.exec(["install", "-m", "644", "/dev/stdin", _PATH], stdin=_TEXT.format(command=command))
    host.exec(["systemctl", "disable", "--now", "--quiet", _GUARD])
    host.exec(["systemctl", "daemon-reload"])
    host.exec(["systemctl", "enable", "--now", "--quiet", _UNIT])
    settings = [word for key, value in _DEFAULTS.items() for word in ("-s", f"{key}={value}")]
    _configure(mesh, *settings)


def restore(mesh: Mesh) -> None:
    """The guards again, and the cluster's own settings; nothing happens where all is so."""
    host = mesh.host(HOME)
    if mesh.file(HOME, _PATH):
        host.exec(["systemctl", "disable", "--now", "--quiet", _UNIT])
        host.exec(["rm", _PATH])
        host.exec(["systemctl", "daemon-reload"])
        _configure(mesh, "--apply", "/etc/patroni/dynamic.yml")
    for name in mesh.controls:
        mesh.host(name).exec(["systemctl", "enable", "--now", "--quiet", _GUARD])


def _configure(mesh: Mesh, *words: str) -> None:
    mesh.host(mesh.databases[0]).exec(["patronictl", "edit-config", "--force", *words])
