"""A relay host: one derper that serves this mesh's nodes only."""

from __future__ import annotations

import json
from typing import Final

from mesh import catalogue, secrets, templates
from mesh.bundle import Bundle, Check, Directory, File, Unit, User
from mesh.roles import certificate, parts, relay_watch
from mesh.settings import Relay, Settings
from mesh.topology import Host

_DIRECTORY: Final = "/etc/derper"
_ENVIRONMENT: Final = f"{_DIRECTORY}/derper.env"
_LIMITS: Final = f"{_DIRECTORY}/limits.json"
_UNIT: Final = "derper.service"
_RATE: Final = "/etc/mesh/bandwidth.env"
_RATE_UNIT: Final = "mesh-bandwidth.service"
_IPV6: Final = "/etc/mesh/ipv6.env"
_IPV6_SCRIPT: Final = "/usr/local/sbin/mesh-ipv6"
_IPV6_UNIT: Final = "mesh-ipv6.service"
_IPV6_TIMER: Final = "mesh-ipv6.timer"
_BYTES_PER_MEGABIT: Final = 125_000
# New connections a second for each CPU, and how many may come at once: a TLS handshake takes
# about a millisecond of CPU, and the rest is for those who are connected.
_ACCEPTED: Final = 200
_ACCEPTED_AT_ONCE: Final = 1000


def bundle(
    settings: Settings,
    host: Host,
    mesh_key: str,
    credential: certificate.Credential | None,
    pinned: secrets.Certificate | None,
    artifacts: parts.Sources,
    ipv6: str | None = None,
) -> Bundle:
    """Everything that a relay runs.

    `mesh_key` (64 hexadecimal digits) lets in whoever else has it: other relays and the prober.
    The certificate is `pinned`, or else one that the host gets by itself: with the DNS service's
    `credential` by DNS-01, without it by HTTP-01. `ipv6` is the host's public IPv6 address, if it
    has one.
    """
    name = f"{host.name}.{settings.dns.zone}"
    own = settings.relay(host.name)
    base = Bundle(
        users=(User(name="derper", home="/var/lib/derper"),),
        directories=(
            Directory(path="/etc/mesh"),
            Directory(path=_DIRECTORY, mode="2750", group="derper"),
        ),
    )
    return parts.join(
        base,
        _ipv6(ipv6) if ipv6 else Bundle(),  # before a certificate: its name leads there already
        _pinned(name, pinned)
        if pinned
        else certificate.bundle(
            settings, [name], _files(name), ("try-restart", _UNIT), credential, artifacts
        ),
        _bandwidth(host),
        _derper(settings, host, own, mesh_key, artifacts),
        Bundle(checks=(_serves(name, trusted=pinned is None),)),
    )


def _files(name: str) -> tuple[certificate.Installed, ...]:
    """derper looks for files named after the host, and reads them once."""
    return (
        certificate.Installed(path=f"{_DIRECTORY}/{name}.crt", holds=("certificate",)),
        certificate.Installed(path=f"{_DIRECTORY}/{name}.key", holds=("key",)),
    )


def _pinned(name: str, pair: secrets.Certificate) -> Bundle:
    contents = {"certificate": pair.certificate, "key": pair.key}
    return Bundle(
        files=tuple(
            File(path=file.path, content=contents[file.holds[0]], mode="0640", group="derper")
            for file in _files(name)
        )
    )


def _bandwidth(host: Host) -> Bundle:
    """The cap of plan 4.1.2, where the cloud has none of its own."""
    if catalogue.OFFERS[host.cloud].caps_bandwidth:
        return Bundle()
    rate = File(path=_RATE, content=f"MESH_MBPS={host.bandwidth_mbps}\n")
    files = (rate, parts.unit_file("relay", _RATE_UNIT))
    unit = Unit(name=_RATE_UNIT, restart_on=tuple(file.path for file in files))
    return Bundle(files=files, units=(unit,))


def _ipv6(address: str) -> Bundle:
    way_out = Check(
        what=f"the cloud's router takes packets from {address}",
        command=("/sbin/ip", "-6", "route", "get", "2000::", "from", address),
        within_seconds=60,
        unit=_IPV6_UNIT,
    )
    return Bundle(
        files=(
            File(path=_IPV6, content=f"MESH_IPV6={address}\n"),
            File(path=_IPV6_SCRIPT, content=templates.text("relay", _IPV6_SCRIPT), mode="0755"),
            parts.unit_file("relay", _IPV6_UNIT),
            parts.unit_file("relay", _IPV6_TIMER),
        ),
        units=(
            Unit(name=_IPV6_UNIT),  # ends at once, so each bundle runs it
            Unit(name=_IPV6_TIMER, restart_on=(parts.unit_path(_IPV6_TIMER),)),
        ),
        checks=(way_out,),
    )


def _derper(
    settings: Settings, host: Host, own: Relay, mesh_key: str, artifacts: parts.Sources
) -> Bundle:
    name = f"{host.name}.{settings.dns.zone}"
    program = parts.program("derper", artifacts)
    environment = templates.render(
        "relay",
        _ENVIRONMENT,
        hostname=name,
        server_name=settings.server_name,
        friends=",".join(
            f"{relay.host}.{settings.dns.zone}"
            for relay in settings.relays
            if relay.code == own.code and relay.number != own.number
        ),
        accepted=_ACCEPTED * own.size.cpus,
        accepted_at_once=_ACCEPTED_AT_ONCE * own.size.cpus,
    )
    limits = {"PerClientRateLimitBytesPerSec": (own.client_mbps or 0) * _BYTES_PER_MEGABIT}
    files = (
        File(path=_ENVIRONMENT, content=environment),
        relay_watch.key_file(mesh_key, "derper"),
        parts.unit_file("relay", _UNIT),
    )
    pair = [file.path for file in _files(name)] if own.certificate == "pinned" else []
    unit = Unit(
        name=_UNIT,
        restart_on=(program.path, *pair, *(file.path for file in files)),
        reload_on=(_LIMITS,),
    )
    limit = File(path=_LIMITS, content=json.dumps(limits) + "\n")
    return Bundle(artifacts=(program,), files=(*files, limit), units=(unit,))


def _serves(name: str, *, trusted: bool) -> Check:
    curl = ["/usr/bin/curl", "--silent", "--show-error", "--fail", "--max-time", "5"]
    how = "a trusted certificate" if trusted else "its pinned certificate"
    return Check(
        what=f"the relay answers as {name} with {how}",
        command=(
            *curl,
            *(() if trusted else ("--cacert", f"{_DIRECTORY}/{name}.crt")),
            "--resolve",
            f"{name}:443:127.0.0.1",
            f"https://{name}/derp/probe",
        ),
        within_seconds=30,
        unit=_UNIT,
    )
