"""User-data: size, secrets, merging, and the firewall it carries.

What a whole text looks like is in tests/render/test_cloud_init.py.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import gzip
import io
import re
import subprocess
import zipfile
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from mesh import bundle, settings, topology, userdata
from tests import stacks

STACKS: Final = ("prod", "staging", "lab")
SYSTEMS: Final = ("debian-12", "ubuntu-22.04")
ROOT: Final = Path(__file__).parents[2]
HEAD, FOOT = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
# As long as a real Ed25519 key and as hard to compress.
PRIVATE: Final = "\n".join([HEAD, *("b3BlbnNzaC1rZXk" + "x" * 55 for _ in range(5)), FOOT]) + "\n"
PUBLIC: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def load(stack: str, system: str = "debian-12") -> settings.Settings:
    file = ROOT / f"stacks/Pulumi.{stack}.yaml"
    raw = yaml.safe_load(file.read_text())["config"]
    values = {key.removeprefix("mesh:"): value for key, value in raw.items()}
    return settings.load(values | {"os": system}, str(file))


def render(chosen: settings.Settings, host: topology.Host) -> str:
    return userdata.render(
        chosen,
        host,
        authorized_key=f"{PUBLIC} operator",
        bootstrap_host_key=PRIVATE,
        bootstrap_host_public_key=PUBLIC,
    )


def parsed(chosen: settings.Settings, host: topology.Host) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render(chosen, host))
    return found


def content(config: dict[str, Any], path: str) -> str:
    found = {entry["path"]: entry for entry in config["write_files"]}[path]
    if found.get("encoding") == "gz+b64":
        return packed(found).decode(errors="replace")
    return str(found["content"])


def packed(entry: dict[str, Any]) -> bytes:
    return gzip.decompress(base64.b64decode(entry["content"]))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("stack", STACKS)
def test_every_host_fits_into_what_the_clouds_take(stack: str, system: str) -> None:
    chosen = load(stack, system)
    sizes = {h.name: len(render(chosen, h).encode()) for h in topology.build(chosen).hosts}
    assert max(sizes.values()) <= userdata.MAX_BYTES, f"clouds refuse more: {sizes}"


def test_too_much_is_an_error_that_names_the_largest_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userdata, "MAX_BYTES", 1000)
    chosen = load("lab")
    with pytest.raises(userdata.UserDataError, match=r"pg-1.* 1000 are allowed.*tools \d+"):
        render(chosen, topology.build(chosen).host("pg-1"))


def test_the_same_arguments_give_the_same_text() -> None:
    chosen = load("prod")
    host = topology.build(chosen).host("hs-1")
    assert render(chosen, host) == render(chosen, host), "a new text would be a diff at each `up`"


@pytest.mark.parametrize("name", ["hs-1", "pg-1", "ops-1", "derp-bj"])
def test_the_only_secret_is_the_bootstrap_host_key(name: str) -> None:
    chosen = load("prod")
    config = parsed(chosen, topology.build(chosen).host(name))
    assert config["ssh_keys"].pop("ed25519_private") == PRIVATE, "sshd needs it unchanged"
    scripts = [content(config, f"/usr/local/sbin/{script}") for script in userdata.SCRIPTS]
    rest = "\n".join([yaml.safe_dump(config), *scripts])
    assert "PRIVATE KEY" not in rest, "everybody on the host can ask the cloud for user-data"
    assert not re.search(r"(?i)(passwd|password|token|secret):\s*\S{8,}", rest)


def instructions(program: str) -> list[str]:
    """What a program does, without what it says about itself."""
    return [
        ast.dump(node)
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.stmt | ast.expr)
        and not isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]


MODULES: Final = [(name, module) for name in userdata.SCRIPTS for module in userdata.SCRIPTS[name]]


def program(name: str) -> bytes:
    """A program as it is on a host."""
    chosen = load("lab")
    config = parsed(chosen, topology.build(chosen).host("ops-1"))
    entries = {entry["path"]: entry for entry in config["write_files"]}
    return packed(entries[f"/usr/local/sbin/{name}"])


@pytest.mark.parametrize(("name", "module"), MODULES)
def test_a_script_arrives_as_it_is_in_the_repository_but_for_its_prose(
    name: str, module: str
) -> None:
    source = (ROOT / userdata.SCRIPTS[name][module]).read_text()
    with zipfile.ZipFile(io.BytesIO(program(name))) as arrived:
        assert instructions(arrived.read(module).decode()) == instructions(source)


def test_what_arrives_is_enough_to_apply_a_bundle(tmp_path: Path) -> None:
    place = tmp_path / "mesh-apply"
    place.write_bytes(program("mesh-apply"))
    place.chmod(0o755)
    nothing = bundle.Bundle().to_json()

    done = subprocess.run(
        [str(place), f"--root={tmp_path}"],
        input=nothing,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},  # no virtual environment, in which there would be more
    )

    assert done.returncode == 0, done.stderr


STATEMENT: Final = re.compile(
    r"(?:ip saddr \{ (?P<sources>[^}]+) \} )?"
    r"(?:ip protocol icmp"
    r"|(?P<family>meta nfproto ipv4 )?(?P<protocol>tcp|udp) dport (?P<ports>[\d-]+)) "
    r'accept comment "(?P<why>[^"]+)"'
)


def understood(line: str) -> topology.Rule:
    """The rule that an nftables statement stands for."""
    found = STATEMENT.fullmatch(line.strip())
    assert found, f"not a statement of a rule: {line}"
    sources: tuple[topology.Source, ...] = (topology.EVERYWHERE,)
    if found["sources"]:
        sources = tuple(IPv4Network(source) for source in found["sources"].split(", "))
    elif found["protocol"] and not found["family"]:
        sources = (topology.EVERYWHERE, topology.EVERYWHERE6)
    first, _, last = (found["ports"] or "0").partition("-")
    protocols: dict[str | None, topology.Protocol] = {"tcp": "tcp", "udp": "udp", None: "icmp"}
    return topology.Rule(
        protocol=protocols[found["protocol"]],
        first_port=int(first),
        last_port=int(last or first),
        sources=sources,
        why=found["why"],
    )


def own_firewall(host: topology.Host) -> tuple[topology.Rule, ...]:
    """The rules in the user-data of a host of stack prod."""
    ruleset = content(parsed(load("prod"), host), "/etc/nftables.conf")
    assert "hook input priority filter; policy drop" in ruleset
    return tuple(understood(line) for line in ruleset.splitlines() if "comment" in line)


@pytest.mark.parametrize("name", ["hs-1", "pg-1", "ops-1"])
def test_the_firewall_of_a_host_says_what_its_security_group_says(name: str) -> None:
    host = topology.build(load("prod")).host(name)

    assert own_firewall(host) == host.rules


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_firewall_of_a_relay_is_ready_for_an_address_that_comes_later(ipv6: bool) -> None:
    host = stacks.build("prod", {"relays.0.ipv6": ipv6}).host("derp-bj")
    with_ipv6 = stacks.build("prod", {"relays.0.ipv6": True}).host("derp-bj")

    # Any ICMPv6 passes every host's own firewall.
    wanted = tuple(rule for rule in with_ipv6.rules if rule.protocol != "icmpv6")
    assert own_firewall(host) == wanted


def test_a_range_of_ports_is_one_statement() -> None:
    networks = (IPv4Network("10.0.0.0/8"), IPv4Network("192.0.2.0/24"))
    rule = topology.Rule(protocol="udp", first_port=5, last_port=9, sources=networks, why="a test")
    assert [understood(line) for line in userdata.firewall([rule])] == [rule]


@pytest.mark.parametrize(("system", "version"), [("debian-12", 15), ("ubuntu-22.04", 14)])
def test_a_database_gets_the_postgresql_of_its_system(system: str, version: int) -> None:
    chosen = load("prod", system)
    packages = parsed(chosen, topology.build(chosen).host("pg-1"))["packages"]
    assert f"postgresql-{version}" in packages


def test_a_database_without_a_data_disk_formats_and_mounts_none() -> None:
    chosen = load("prod")
    host = topology.build(chosen).host("pg-1")
    size = host.size.model_copy(update={"data_gib": None})
    config = parsed(chosen, dataclasses.replace(host, size=size))
    assert "fs_setup" not in config
    assert "mounts" not in config


def test_an_existing_file_system_on_the_data_disk_is_kept() -> None:
    chosen = load("prod")
    (made,) = parsed(chosen, topology.build(chosen).host("pg-1"))["fs_setup"]
    assert made["overwrite"] is False, "a replaced host would lose the database"


def test_lists_are_appended_and_mappings_merged() -> None:
    parts: dict[str, dict[str, Any]] = {
        "one": {"packages": ["a"], "ssh": {"x": 1}},
        "two": {"packages": ["b"], "ssh": {"y": 2}, "z": 3},
    }
    assert userdata.merge(parts) == {"packages": ["a", "b"], "ssh": {"x": 1, "y": 2}, "z": 3}
    assert parts["one"] == {"packages": ["a"], "ssh": {"x": 1}}, "merging changed a part"


def test_two_parts_that_set_one_value_are_refused() -> None:
    with pytest.raises(userdata.UserDataError, match=r"two.*timezone"):
        userdata.merge({"one": {"timezone": "UTC"}, "two": {"timezone": "Asia/Shanghai"}})
