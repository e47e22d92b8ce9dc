"""Covers the booted mesh of stack lab: it serves, it is stable, and it keeps its secrets.

One `pulumi up` for the whole session (tests/lab/mesh.py); stopping it must leave nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from drills import two_clients
from drills.mesh import guard_status
from lab.world.command import until
from lab.world.host import Host
from lab.world.model import Cut
from tests import stacks
from tests.lab.mesh import Mesh

SECRET_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"  # marks a secret in Pulumi's state
EXPOSED_LIMIT: Final = 2.0  # of systemd-analyze's exposure, 0 to 10
UNITS: Final = {path.name for path in (stacks.REPOSITORY / "roles").rglob("*.service")}
OFF: Final = {"mesh-arbiter.service"}  # which stack lab does not ask for
# Every key of the registry, those too that no output of the stack has. Root's, on a control host.
_KEPT: Final = """\
import json
from registry.place import Place
from registry.store import Store
with Store(Place()) as store:
    kept = store.read()[1]
print(json.dumps({f"{kind} {name}": record["key"]
                  for kind in ("keys", "api_keys") for name, record in kept[kind].items()}))
"""


def test_both_clients_are_online_in_the_list_of_nodes(mesh: Mesh) -> None:
    active = mesh.host(two_clients.active_name(mesh.world, mesh.outputs))

    listed = json.loads(active.exec(["headscale", "nodes", "list", "-o", "json"]).stdout)

    assert {node["name"]: node.get("online", False) for node in listed} == {
        two_clients.SERVER: True,
        two_clients.DEVICE: True,
    }


def test_clients_reach_each_other_directly(mesh: Mesh) -> None:
    said = two_clients.await_direct(mesh.device, mesh.server)

    assert "pong" in said
    assert "DERP" not in said


def test_clients_reach_each_other_through_a_relay_when_direct_udp_is_blocked(mesh: Mesh) -> None:
    ends = (mesh.device.host.name, mesh.server.host.name)
    mesh.world.cut(Cut(hosts=ends, protocol="udp", except_ports=(3478,)))
    try:
        said = two_clients.await_relay(mesh.device, mesh.server)
    finally:
        mesh.world.heal(*ends)

    assert "via DERP" in said


def test_a_second_up_changes_nothing(mesh: Mesh) -> None:
    again = mesh.engine.run("up", "--stack", two_clients.STACK, "--yes", "--expect-no-changes")

    assert again.returncode == 0, again.stdout


def test_a_refresh_finds_nothing_changed(mesh: Mesh) -> None:
    found = mesh.engine.run("refresh", "--stack", two_clients.STACK, "--yes", "--expect-no-changes")

    assert found.returncode == 0, found.stdout


def test_exactly_one_control_host_runs_headscale(mesh: Mesh) -> None:
    active = two_clients.active_name(mesh.world, mesh.outputs)

    running = {
        name: mesh.host(name).exec(["pgrep", "-x", "headscale"], check=False).status == 0
        for name in ("hs-1", "hs-2")
    }

    assert running == {name: name == active for name in ("hs-1", "hs-2")}


def test_no_unit_failed_on_any_host(mesh: Mesh) -> None:
    failed = {
        name: host.exec(["systemctl", "--failed", "--plain", "--no-legend"]).stdout
        for name, host in mesh.hosts.items()
    }

    assert set(failed.values()) == {""}, failed


def test_every_unit_of_ours_is_sandboxed(mesh: Mesh) -> None:
    exposed: dict[str, dict[str, float]] = {}
    for name, host in mesh.hosts.items():
        for unit in _units(host):
            exposed.setdefault(unit, {})[name] = _exposure(host, unit)

    assert exposed.keys() == UNITS - OFF, "each is looked at on every host that has it"
    too_open = {
        f"{name} {unit}": level
        for unit, levels in exposed.items()
        for name, level in levels.items()
        if level > EXPOSED_LIMIT
    }
    assert not too_open, f"at most {EXPOSED_LIMIT} of 10 is allowed"


def _units(host: Host) -> list[str]:
    """Those of ours that a host has."""
    installed = host.exec(["ls", "/etc/systemd/system"]).stdout.split()
    return [unit for unit in installed if unit in UNITS]


def _exposure(host: Host, unit: str) -> float:
    """systemd-analyze's overall level, drop-ins included."""
    said = host.exec(["systemd-analyze", "security", "--no-pager", unit]).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    return float(found[1])


def test_no_secret_is_found_outside_its_place(mesh: Mesh) -> None:
    secrets = _secrets(mesh)
    assert len(secrets) > 10, "the search must know what it looks for"

    places = {"plain state": json.dumps(mesh.engine.export(two_clients.STACK))}
    for name, host in mesh.hosts.items():
        places |= {f"{name}: {what}": text for what, text in _exposed_texts(host).items()}

    for place, text in places.items():
        found = [label for label, secret in secrets.items() if secret in text]
        assert not found, f"{place} shows {found}"


def _secrets(mesh: Mesh) -> dict[str, str]:
    """Every generated secret of the stack: passwords, private keys, pre-auth keys, API keys.

    Bootstrap host keys are left out: they are in user-data by design, and dead.
    """
    state = mesh.engine.run("stack", "export", "--stack", two_clients.STACK, "--show-secrets")
    resources = json.loads(state.check().stdout)["deployment"]["resources"]
    found: dict[str, str] = {}
    for resource in resources:
        name, outputs = resource["urn"].rsplit("::", 1)[-1], resource.get("outputs", {})
        kind = resource["type"]
        if kind == "random:index/randomPassword:RandomPassword":
            found[name] = _plain(outputs["result"])
        if kind == "random:index/randomBytes:RandomBytes":
            found[name] = _plain(outputs["hex"])
            found[f"{name}, as Fernet spells it"] = _plain(outputs["base64"]).translate(
                str.maketrans("+/", "-_")
            )
        if kind == "tls:index/privateKey:PrivateKey" and not name.endswith("-bootstrap"):
            pem = _plain(outputs["privateKeyPem"])
            found[name] = pem.splitlines()[1]  # one line of the key is enough to know it by
    for kind in ("keys", "api_keys"):
        found |= {f"output {kind} {name}": key for name, key in mesh.outputs[kind].items()}
    kept = mesh.host("hs-1").exec(["env", "PYTHONPATH=/usr/local/lib/mesh", "python3", "-c", _KEPT])
    return found | {f"registry {name}": key for name, key in json.loads(kept.stdout).items()}


def _plain(value: Any) -> str:
    if isinstance(value, dict) and SECRET_SIGNATURE in value:
        return str(json.loads(value["plaintext"]))
    return str(value)


def _exposed_texts(host: Host) -> dict[str, str]:
    """What others than root could come across on a host, or what leaves it."""
    commands = {
        "journal": "journalctl --no-pager --output=cat",
        "logs": "find /var/log -type f -not -path '*/journal/*' -exec cat {} +",
        "processes": "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
        "units": "cat /etc/systemd/system/*.service",
        "user-data": "cat /var/lib/cloud/instance/user-data.txt* /var/lib/cloud/seed/*/user-data",
        "readable by all": "find /etc /var/lib/mesh /run -xdev -type f -perm -o=r -size -1M "
        "-exec cat {} + 2>/dev/null",
    }
    return {
        what: host.exec(["sh", "-c", f"{line}; true"], within=120).stdout
        for what, line in commands.items()
    }


def test_a_control_host_serves_its_purpose_again_after_a_power_loss(mesh: Mesh) -> None:
    active = two_clients.active_name(mesh.world, mesh.outputs)
    standby = mesh.host("hs-2" if active == "hs-1" else "hs-1")

    standby.power_off()
    standby.start()

    until(
        lambda: bool(guard_status(standby).get("database")),
        within=90,
        what="the guard's way to the database after a boot",
    )
