"""What a cloud hands a new host at its first boot: one cloud-config text.

The parts are in cloud-init/, one concern each; `PARTS` says which a role gets. The text holds no
secret but the bootstrap host key, which the first connection replaces.
"""

from __future__ import annotations

import ast
import base64
import functools
import gzip
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml

from mesh import topology
from mesh.catalogue import OperatingSystem
from mesh.settings import Settings

MAX_BYTES: Final = 16384  # AWS and Tencent Cloud refuse more; Alibaba Cloud would take 32 KiB
# What later commands over SSH run: for each program its modules, module → path here.
SCRIPTS: Final = {
    "mesh-boot": {"__main__.py": "cloud-init/scripts/mesh-boot"},
    "mesh-apply": {
        "__main__.py": "cloud-init/scripts/mesh-apply",
        "mesh_host.py": "cloud-init/scripts/mesh_host.py",
        "mesh/__init__.py": "mesh/__init__.py",
        "mesh/bundle.py": "mesh/bundle.py",
    },
}
POSTGRESQL: Final[dict[OperatingSystem, int]] = {"debian-12": 15, "ubuntu-22.04": 14}  # packaged
PARTS: Final[dict[topology.Role, tuple[str, ...]]] = {
    "control": ("role-control",),
    "database": ("role-database",),
    "ops": ("role-ops",),
    "relay": (),
}
_FIRST: Final = ("host", "packages", "kernel", "access", "firewall", "tools")
_LAST: Final = ("finish",)
# libyaml where it is there: ten times as fast, over seventy parts.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REPOSITORY: Final = Path(__file__).parents[1]


class UserDataError(Exception):
    """User-data that no cloud would take, or parts that contradict each other."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A program that user-data carries, compressed as cloud-init's `gz+b64`."""

    name: str
    content: str


def render(
    settings: Settings,
    host: topology.Host,
    *,
    authorized_key: str,
    bootstrap_host_key: str,
    bootstrap_host_public_key: str,
) -> str:
    """The user-data of a host; the same arguments always give the same text.

    `authorized_key` is the line that lets user `mesh` in. The bootstrap host key is the OpenSSH
    PEM text of an Ed25519 key, the public one its line. UserDataError above 16 KiB.
    """
    values = {
        "settings": settings,
        "host": host,
        "authorized_key": authorized_key.strip(),
        "bootstrap_host_key": bootstrap_host_key.strip() + "\n",  # OpenSSH insists on the end
        "bootstrap_host_public_key": bootstrap_host_public_key.strip(),
        "firewall": firewall(host.rules, both=host.role == "relay"),
        "scripts": [_script(name) for name in SCRIPTS],
        "postgresql": POSTGRESQL[settings.os],
    }
    parts = {name: _part(name, values) for name in (*_FIRST, *PARTS[host.role], *_LAST)}
    text = _text(merge(parts))
    size = len(text.encode())
    if size > MAX_BYTES:
        largest = sorted(parts, key=lambda name: -len(_text(parts[name])))[:3]
        sizes = ", ".join(f"{name} {len(_text(parts[name]))}" for name in largest)
        raise UserDataError(
            f"host {host.name}: user-data has {size} bytes, {MAX_BYTES} are allowed;"
            f" the largest parts: {sizes}"
        )
    return text


def firewall(rules: Iterable[topology.Rule], *, both: bool = False) -> list[str]:
    """nftables statements that accept what the rules allow, one a rule and in their order.

    With `both`, ports that everybody may reach are open for IPv6 as well, whatever the rules say:
    a relay can get an IPv6 address later, and user-data does not reach a running host. Until then
    its security group lets none in, and nothing leads there.
    """
    return [_statement(rule, both) for rule in rules if rule.protocol != "icmpv6"]


def _statement(rule: topology.Rule, both: bool) -> str:
    words = []
    open_to_all = topology.EVERYWHERE in rule.sources
    if not open_to_all:
        words.append(f"ip saddr {{ {', '.join(map(str, rule.sources))} }}")
    if rule.protocol == "icmp":
        words.append("ip protocol icmp")
    else:
        ports = str(rule.first_port)
        if rule.last_port != rule.first_port:
            ports += f"-{rule.last_port}"
        # Else IPv4 only, as the security group says.
        family = "" if both and open_to_all else "meta nfproto ipv4 "
        words.append(f"{family}{rule.protocol} dport {ports}")
    return " ".join([*words, f'accept comment "{rule.why}"'])


def merge(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One mapping: lists are appended in the order of the parts, mappings merged.

    UserDataError when two parts set the same single value.
    """
    whole: dict[str, Any] = {}
    for name, part in parts.items():
        _merge_into(whole, part, name)
    return whole


def _merge_into(whole: dict[str, Any], part: dict[str, Any], where: str) -> None:
    for key, value in part.items():
        present = whole.get(key)
        if key not in whole:
            # Copies, so that appending never changes a part.
            whole[key] = list(value) if isinstance(value, list) else value
            if isinstance(value, dict):
                whole[key] = {}
                _merge_into(whole[key], value, where)
        elif isinstance(present, list) and isinstance(value, list):
            present.extend(value)
        elif isinstance(present, dict) and isinstance(value, dict):
            _merge_into(present, value, f"{where}.{key}")
        else:
            raise UserDataError(f"{where}: {key} is already set by another part")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_REPOSITORY / "cloud-init"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # YAML, not HTML
    )
    # The default JSON dump escapes for HTML what sshd must read as it is.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True}
    return environment


def _part(name: str, values: dict[str, Any]) -> dict[str, Any]:
    text = _environment().get_template(f"{name}.yaml.j2").render(values)
    found = yaml.load(text, Loader=_LOADER)
    if not isinstance(found, dict):
        raise UserDataError(f"{name}: a part must be a mapping")
    return found


@functools.cache
def _script(name: str) -> Script:
    packed = io.BytesIO()
    # No time, no name: the same script always gives the same text.
    with gzip.GzipFile("", "wb", compresslevel=9, fileobj=packed, mtime=0) as file:
        file.write(_program(SCRIPTS[name]))
    return Script(name=name, content=base64.b64encode(packed.getvalue()).decode())


def _program(modules: dict[str, str]) -> bytes:
    """One file that Python runs, as zipapp makes them.

    Its members are stored as they are: gzip then compresses all modules as one, a sixth smaller.
    """
    made = io.BytesIO()
    made.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for module, path in modules.items():
            text = _without_prose((_REPOSITORY / path).read_text())
            # Of a ZipInfo without arguments the time is always the same.
            archive.writestr(zipfile.ZipInfo(module), f"# Comments: {path}\n{text}")
    return made.getvalue()


def _without_prose(source: str) -> str:
    """The same program without comments and docstrings: user-data has no room for them."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            is_all = len(node.body) == 1 and not isinstance(node, ast.Module)
            node.body[:1] = [ast.Pass()] if is_all else []
    return ast.unparse(tree) + "\n"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, so that people can read what a host was given."""


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent)


def _text(whole: dict[str, Any]) -> str:
    body = yaml.dump(
        whole, Dumper=_Dumper, sort_keys=False, width=MAX_BYTES, allow_unicode=True, indent=1
    )
    return f"#cloud-config\n{body}"
