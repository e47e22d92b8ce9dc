"""Covers the whole program under Pulumi's mocks: what commands may know, how they connect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from components import configuration
from components.installation import Installation
from mesh import artifacts
from tests import stacks
from tests.unit.recorder import Recorder

REGISTERED: Final = '{"keys": {}, "api_keys": {}, "users": {}}'
SECRET: Final = "4dabf18193072939515e22adb298388d"  # how the engine marks a secret value
KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI-not-a-real-key"


def _answer(name: str) -> dict[str, Any]:
    """What the providers of keys, certificates, passwords and commands answer."""
    return {
        "publicKeyOpenssh": KEY,
        "privateKeyOpenssh": f"private key of {name}",
        "privateKeyPem": f"pem of {name}",
        "certPem": f"certificate of {name}",
        "certRequestPem": f"request of {name}",
        "result": f"password of {name}",
        "hex": "ab" * 32,
        "base64": "q83v" * 10 + "q80=",
        "stdout": REGISTERED if name.endswith("-registry") else KEY,
    }


@dataclass
class Seen:
    """The outputs of the stack; `hidden` is whether a host's public key is kept secret."""

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    hidden: dict[str, bool] = field(default_factory=dict)
    operators_key_hidden: bool = False
    bastion: str = ""


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Filled by `program`."""
    return Seen()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, seen: Seen) -> Recorder:
    """Everything that stack prod asks for, from a folder with small stand-ins for the programs."""
    folder = tmp_path_factory.mktemp("program")
    for name in ("clients", "policy"):
        (folder / name).symlink_to(stacks.REPOSITORY / name)
    _write_manifest(folder / "dist")
    recorder = Recorder(_answer)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _declare(recorder, seen)
    return recorder


def _write_manifest(dist: Path) -> None:
    entries = {}
    needed = (*artifacts.NEEDED.values(), artifacts.CLIENT)
    for name in {name for names in needed for name in names}:
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        path = dist / sha256 / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
        entries[name] = {
            "group": "product", "path": f"{sha256}/{name}", "sha256": sha256, "version": "1"
        }  # fmt: skip
    (dist / "manifest.json").write_text(json.dumps(entries))


async def _look(mesh: Installation, seen: Seen) -> None:
    """What the stack shows of itself."""
    for name, host in mesh.host_table.items():
        seen.hosts[name] = {
            key: await value.future() if isinstance(value, pulumi.Output) else value
            for key, value in host.items()
        }
        seen.hidden[name] = await host["host_key"].is_secret()
    seen.operators_key_hidden = await mesh.operators_key.is_secret()
    seen.bastion = mesh.bastion


def _declare(recorder: Recorder, seen: Seen) -> None:
    """Runs the program until every resource is registered."""
    values = {f"mesh:{key}": json.dumps(value) for key, value in stacks.values("prod").items()}
    recorder.listen(project="mesh", stack="prod")
    pulumi.runtime.set_all_config(values)

    async def declare() -> None:
        await _look(await Installation.build(configuration.load()), seen)

    test: Callable[[Callable[[], Awaitable[None]]], Callable[[], None]] = pulumi.runtime.test
    test(declare)()
    pulumi.runtime.set_all_config({})


def _commands(program: Recorder) -> dict[str, dict[str, Any]]:
    """The inputs of every command on a host, by name."""
    return program.named("command:remote:Command")


def _opened(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) and SECRET in value else value


def test_every_host_is_booted_then_given_its_role(program: Recorder) -> None:
    hosts = [host.name for host in stacks.build("prod").hosts]

    for name in hosts:
        assert f"{name}-boot" in _commands(program)
        assert f"{name}-bundle" in _commands(program)


def test_every_bundle_travels_as_a_secret_on_standard_input(program: Recorder) -> None:
    for name, inputs in _commands(program).items():
        if not name.endswith("-boot"):
            assert SECRET in inputs["stdin"], f"{name} would show its input"


def test_no_command_line_holds_more_than_the_name_of_a_program(program: Recorder) -> None:
    lines = {inputs["create"] for inputs in _commands(program).values()}

    names = ("boot", "apply", "database", "registry apply")
    assert lines == {f"sudo mesh-{what}" for what in names}


def test_every_connection_pins_the_host_key_also_on_the_way(program: Recorder) -> None:
    for name, inputs in _commands(program).items():
        connection = _opened(inputs["connection"])
        assert _opened(connection["hostKey"]), f"{name} would trust any host"
        if "proxy" in connection:
            assert _opened(connection["proxy"])["hostKey"], f"{name} would trust any bastion"


def test_databases_are_reached_through_the_operations_host(program: Recorder) -> None:
    for name, inputs in _commands(program).items():
        through = "proxy" in _opened(inputs["connection"])
        private = name.startswith(("pg-", "headscale-database"))
        assert through == private, name


def test_commands_write_nothing_to_the_log(program: Recorder) -> None:
    assert {inputs["logging"] for inputs in _commands(program).values()} == {"none"}


def test_user_data_is_kept_encrypted(program: Recorder) -> None:
    made = [inputs for kind, _, inputs in program.made if kind.endswith("instance:Instance")]
    names = {"userData", "userDataRaw", "userDataBase64"}
    data = [inputs[key] for inputs in made for key in names & set(inputs)]

    assert len(data) == 9
    assert all(isinstance(value, dict) and SECRET in value for value in data)


def test_every_host_is_shown_with_the_key_that_commands_pin(program: Recorder, seen: Seen) -> None:
    assert {host["host_key"] for host in seen.hosts.values()} == {KEY}
    assert len(seen.hosts) == 9


def test_a_public_host_key_is_no_secret_and_the_operators_key_is(
    program: Recorder, seen: Seen
) -> None:
    assert not any(seen.hidden.values()), "people could not compare it"
    assert seen.operators_key_hidden


def test_whoever_has_no_public_address_is_behind_the_bastion(program: Recorder, seen: Seen) -> None:
    hosts = seen.hosts.items()
    behind = {name for name, host in hosts if host["address"] == host["private_address"]}

    assert behind == {"pg-1", "pg-2"}
    assert seen.bastion == "ops-1"
