"""Headscale's configuration and DERP map, the same on both control hosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from mesh import capacity, derp
from mesh.settings import MESH_V4, MESH_V6, MagicDns, Settings
from mesh.topology import Topology

PORT: Final = 8080
CONFIG: Final = "/etc/headscale/config.yaml"
ENVIRONMENT: Final = "/etc/mesh/headscale.env"
NOISE_KEY: Final = "/etc/headscale/noise.key"
CERTIFICATE: Final = "/etc/mesh/tls/headscale.crt"
KEY: Final = "/etc/mesh/tls/headscale.key"
SOCKET: Final = "/run/headscale/headscale.sock"
# What clients answer besides nodes' names; mesh-records writes it, in its own state folder.
EXTRA_RECORDS: Final = "/var/lib/mesh-records/records.json"

# Connections to the database at once (plan 5.2.2); 1000 registrations took PostgreSQL 1.6 s of CPU.
# mesh.roles.postgres has room for them.
POOL: Final = 100

_HEADER: Final = "# Written by mesh; changes here are lost.\n"


@dataclass(frozen=True, kw_only=True)
class Login:
    """How Headscale gets into its database; `host` is a name in the database's certificate."""

    host: str
    user: str
    password: str = field(repr=False)


def configuration(settings: Settings, topology: Topology, login: Login) -> str:
    """/etc/headscale/config.yaml for Headscale 0.29, which ignores keys that it does not know.

    The text holds the password.
    """
    tree = {
        "server_url": f"https://{settings.server_name}",
        # TLS here too: the other host's proxy connects across zones.
        "listen_addr": f"0.0.0.0:{PORT}",
        "tls_cert_path": CERTIFICATE,
        "tls_key_path": KEY,
        "trusted_proxies": [f"{host.address}/32" for host in topology.having("control")],
        "metrics_listen_addr": "127.0.0.1:9090",
        "grpc_listen_addr": "127.0.0.1:50443",
        "grpc_allow_insecure": False,
        "unix_socket": SOCKET,
        "unix_socket_permission": "0770",
        "noise": {"private_key_path": NOISE_KEY},
        "prefixes": {"v4": str(MESH_V4), "v6": str(MESH_V6), "allocation": "sequential"},
        "derp": _derp(),
        "disable_check_updates": True,
        "node": {"expiry": "0", "ephemeral": {"inactivity_timeout": "30m"}},
        "database": _database(login),
        # The proxies ask for /version each second, and "info" logs each time.
        "log": {"format": "text", "level": "warn"},
        "policy": {"mode": "database"},
        "dns": _dns(settings.magic_dns),
        "logtail": {"enabled": False},
        "tuning": _tuning(settings),
    }
    return _HEADER + yaml.safe_dump(tree, sort_keys=False)


def environment(settings: Settings) -> str:
    """What Headscale takes from its environment, as systemd reads it from a file."""
    limit = capacity.memory_limit_mib(settings.control.headscale.memory_gib)
    return f"{_HEADER}GOMEMLIMIT={limit}MiB\n"


def _tuning(settings: Settings) -> dict[str, Any]:
    size = settings.control.headscale
    return capacity.headscale(size.cpus, size.memory_gib, settings.expected_nodes, settings.tuning)


def _derp() -> dict[str, Any]:
    return {
        "server": {"enabled": False},
        "urls": [],
        "paths": [derp.MAP],
        # A changed map reaches clients without a restart. An unchanged one, too, and they work
        # through it each time: not more often.
        "auto_update_enabled": True,
        "update_frequency": "1m",
    }


def _database(login: Login) -> dict[str, Any]:
    return {
        "type": "postgres",
        "postgres": {
            "host": login.host,
            "port": 5432,
            "name": "headscale",
            "user": login.user,
            "pass": login.password,
            "ssl": "verify-full",
            "max_open_conns": POOL,
            "max_idle_conns": 10,
            "conn_max_idle_time_secs": 3600,
        },
    }


def _dns(dns: MagicDns) -> dict[str, Any]:
    return {
        "magic_dns": True,
        "base_domain": dns.base_domain,
        "override_local_dns": True,
        "nameservers": {
            "global": list(dns.nameservers),
            "split": {domain: list(resolvers) for domain, resolvers in dns.split.items()},
        },
        # Headscale puts the base domain first by itself.
        "search_domains": [name for name in dns.search_domains if name != dns.base_domain],
        # Watched while it runs. With extra_records beside it, an empty list even, it would not
        # start.
        "extra_records_path": EXTRA_RECORDS,
    }
