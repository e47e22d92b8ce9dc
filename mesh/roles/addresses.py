"""The plan of addresses on a control host, and the nightly run that places newcomers."""

from __future__ import annotations

import json
from typing import Final

from mesh import secrets
from mesh.bundle import Bundle, File, Unit
from mesh.roles import guard, parts
from mesh.settings import Settings
from mesh.topology import Host

_CONFIG: Final = "/etc/mesh/addresses.json"
_PASSWORD: Final = "/etc/mesh/headscale.password"
_SERVICE: Final = "mesh-addresses.service"
_TIMER: Final = "mesh-addresses.timer"


def bundle(settings: Settings, host: Host, passwords: secrets.ControlPasswords) -> Bundle:
    """What `mesh-registry addresses` works with."""
    files = (
        File(path=_CONFIG, content=json.dumps(_configuration(settings, host), indent=2) + "\n"),
        File(path=_PASSWORD, content=passwords.headscale + "\n", mode="0600"),
        parts.unit_file("control", _SERVICE),
        parts.unit_file("control", _TIMER),
    )
    timer = Unit(
        name=_TIMER,
        running=settings.addresses_nightly,
        restart_on=(parts.unit_path(_TIMER),) if settings.addresses_nightly else (),
    )
    return Bundle(files=files, units=(timer,))


def _configuration(settings: Settings, host: Host) -> dict[str, object]:
    """As registry/addresses/config.py has it."""
    login = guard.headscale_login(host.name)
    return {
        "ranges": [part.model_dump(mode="json") for part in settings.addresses],
        "names": [settings.node_names.server, settings.node_names.device],
        "hold_socket": guard.HOLD,
        "database": (
            f"host={parts.POSTGRES_NAME} port=5432 dbname=headscale user={login}"
            f" sslmode=verify-full sslrootcert={parts.CA}"
        ),
        "password_file": _PASSWORD,
    }
