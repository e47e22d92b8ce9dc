"""A relay host: one derper that serves this mesh's nodes only."""

from __future__ import annotations

from typing import Final

from mesh import secrets, templates
from mesh.bundle import Bundle, Check, Directory, File, Unit, User
from mesh.roles import parts
from mesh.settings import Settings
from mesh.topology import Host, Topology

_DIRECTORY: Final = "/etc/derper"
_ENVIRONMENT: Final = f"{_DIRECTORY}/derper.env"
_UNIT: Final = "derper.service"


def bundle(
    settings: Settings,
    topology: Topology,
    host: Host,
    certificate: secrets.Certificate,
    artifacts: parts.Sources,
) -> Bundle:
    """Everything that a relay runs. `certificate` is that of the relay's public name, and its
    `ca` also vouches for Headscale's entry."""
    del topology  # every role is called the same way
    return parts.join(parts.trust(certificate.ca), _derper(settings, host, certificate, artifacts))


def _derper(
    settings: Settings, host: Host, certificate: secrets.Certificate, artifacts: parts.Sources
) -> Bundle:
    name = f"{host.name}.{settings.dns.zone}"
    program = parts.program("derper", artifacts)
    environment = templates.render(
        "relay", _ENVIRONMENT, hostname=name, server_name=settings.server_name
    )
    files = (
        # derper looks for files named after the host, and reads them once.
        File(path=f"{_DIRECTORY}/{name}.crt", content=certificate.certificate),
        File(
            path=f"{_DIRECTORY}/{name}.key",
            content=certificate.key,
            mode="0640",
            group="derper",
        ),
        File(path=_ENVIRONMENT, content=environment),
        parts.unit_file("relay", _UNIT),
    )
    return Bundle(
        users=(User(name="derper", home="/var/lib/derper"),),
        directories=(Directory(path=_DIRECTORY, mode="0750", group="derper"),),
        artifacts=(program,),
        files=files,
        units=(
            Unit(
                name=_UNIT,
                restart_on=(program.path, parts.TRUSTED_CA, *(file.path for file in files)),
            ),
        ),
        checks=(_serves(name),),
    )


def _serves(name: str) -> Check:
    return Check(
        what=f"the relay answers as {name} with a trusted certificate",
        command=(
            "/usr/bin/curl",
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "5",
            "--resolve",
            f"{name}:443:127.0.0.1",
            f"https://{name}/derp/probe",
        ),
        within_seconds=30,
        unit=_UNIT,
    )
