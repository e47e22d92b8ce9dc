"""The certificate of a host's public name, which the host gets and renews by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from mesh import catalogue, templates
from mesh.bundle import Bundle, Directory, File, Unit
from mesh.roles import parts
from mesh.settings import Settings

SERVICE: Final = "mesh-certificate.service"
_TIMER: Final = "mesh-certificate.timer"
_REDIRECT: Final = f"{SERVICE}.d/redirect.conf"
_SCRIPT: Final = "/usr/local/sbin/mesh-certificate"
_CONFIG: Final = "/etc/mesh/certificate.json"
_SECRETS: Final = "/etc/mesh/acme"
_CHALLENGE_PORT: Final = 5402  # where HTTP-01 is answered; port 80 leads there meanwhile
_PLAIN: Final = ("AWS_REGION", "AWS_HOSTED_ZONE_ID")  # no secrets, and lego reads no file for them

Credential = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A file that the certificate goes to: its chain, its key, or one after the other.

    It gets the group of its folder, which must have the setgid bit.
    """

    path: str
    holds: tuple[Literal["certificate", "key"], ...]


def bundle(
    settings: Settings,
    names: Sequence[str],
    files: Sequence[Installed],
    tell: tuple[str, str],
    credential: Credential | None,
    artifacts: parts.Sources,
) -> Bundle:
    """One certificate for `names`, in `files`. `tell` is what systemctl does to whom after each
    new one, such as ("try-restart", "derper.service").

    With the DNS service's credential (lego's environment variables) by DNS-01, without by HTTP-01.
    The service runs before all units that follow in the host's bundle.
    """
    secrets, environment = _credential(settings, credential or {})
    program = parts.program("lego", artifacts)
    config = {
        "names": list(names),
        "email": settings.certificates.email,
        "directory": settings.certificates.directory,
        "challenge": _challenge(settings, credential),
        "redirect": None if credential else _CHALLENGE_PORT,
        "environment": environment,
        "files": [asdict(file) for file in files],
        "tell": list(tell),
    }
    redirect = () if credential else (parts.unit_file("relay", _REDIRECT),)
    return Bundle(
        directories=(
            Directory(path="/etc/mesh"),
            Directory(path=_SECRETS, mode="0700"),
        ),
        artifacts=(program,),
        files=(
            *secrets,
            File(path=_CONFIG, content=json.dumps(config, indent=2) + "\n", mode="0600"),
            File(path=_SCRIPT, content=templates.text("common", _SCRIPT), mode="0755"),
            parts.unit_file("common", SERVICE),
            parts.unit_file("common", _TIMER),
            *redirect,
        ),
        units=(
            # Ends at once, so each bundle runs it: a changed name gets its certificate now.
            Unit(name=SERVICE),
            Unit(name=_TIMER, restart_on=(parts.unit_path(_TIMER),)),
        ),
    )


def _challenge(settings: Settings, credential: Credential | None) -> list[str]:
    if credential is None:
        return ["--http", "--http.port", f":{_CHALLENGE_PORT}"]
    return ["--dns", catalogue.LEGO_PROVIDERS[settings.dns.provider]]


def _credential(
    settings: Settings, credential: Credential
) -> tuple[tuple[File, ...], dict[str, Any]]:
    """Files with the secrets, and the variables that name them."""
    plain = {name: value for name, value in credential.items() if name in _PLAIN}
    secret = {name: value for name, value in credential.items() if name not in _PLAIN}
    if settings.dns.provider == "route53" and secret:  # Amazon's own library has its own form
        lines = [f"{name.lower()} = {value}" for name, value in sorted(secret.items())]
        path = f"{_SECRETS}/aws"
        file = File(path=path, content="\n".join(["[default]", *lines, ""]), mode="0600")
        return (file,), {**plain, "AWS_SHARED_CREDENTIALS_FILE": path}
    files = tuple(
        File(path=f"{_SECRETS}/{name}", content=value, mode="0600")
        for name, value in sorted(secret.items())
    )
    return files, {**plain, **{f"{name}_FILE": f"{_SECRETS}/{name}" for name in sorted(secret)}}
