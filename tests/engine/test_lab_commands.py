"""The command provider: what really runs, where, and what it says when it fails.

Remote commands are run against an SSH server in this process; the lab's own hosts are the
subject of tests/lab.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest

from lab import command, wire
from lab.provider import Target
from lab.resource import CloudError

STDIN = "the-secret-on-standard-input"


@dataclass(frozen=True)
class Server:
    """An SSH server on 127.0.0.1 that runs commands with /bin/sh."""

    port: int
    host_key: str
    client_key: str

    def connection(self, **changes: Any) -> dict[str, Any]:
        settled = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "privateKey": self.client_key,
            "hostKey": self.host_key,
            "dialErrorLimit": 0,
        }
        return {**settled, **changes}


async def _run_for_client(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run what the client asks for; like sshd, accept only LANG and LAB_* as environment."""
    accepted = {key: value for key, value in process.env.items() if key.startswith("LAB_")}
    child = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        process.command or "true",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", **accepted},
    )
    out, err = await child.communicate(await process.stdin.read())
    process.stdout.write(out)
    process.stderr.write(err)
    process.exit(child.returncode or 0)


class _Forwarding(asyncssh.SSHServer):
    """Forwards connections, as a bastion host does, and remembers where to."""

    asked: ClassVar[list[tuple[str, int]]] = []

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        self.asked.append((dest_host, dest_port))
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    client_key = asyncssh.generate_private_key("ssh-ed25519")
    allowed = asyncssh.import_authorized_keys(client_key.export_public_key().decode())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            authorized_client_keys=allowed,
            server_factory=_Forwarding,
            process_factory=_run_for_client,
            encoding=None,
        )

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    yield Server(
        port=acceptor.get_port(),
        host_key=host_key.export_public_key().decode(),
        client_key=client_key.export_private_key().decode(),
    )
    loop.call_soon_threadsafe(acceptor.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def commands(tmp_path: Path) -> command.Commands:
    """The provider in a lab whose hosts are reached as from this machine."""
    (tmp_path / "world.json").write_text(json.dumps({"operator_namespace": None}))
    return command.handler(tmp_path, "")


def target(type: str = command.REMOTE, *, preview: bool = False, timeout: float = 0) -> Target:
    return Target(f"urn:pulumi:dev::trial::{type}::step", preview=preview, timeout=timeout)


def create(handler: command.Commands, type: str = command.REMOTE, **inputs: Any) -> dict[str, Any]:
    _, outputs = handler.create(target(type), inputs, partial=None)
    return outputs


def test_a_remote_command_gets_its_input_and_gives_both_streams(
    commands: command.Commands, server: Server
) -> None:
    outputs = create(
        commands, connection=server.connection(), create="cat; echo oops >&2", stdin="hello\n"
    )

    assert outputs["stdout"] == "hello"
    assert outputs["stderr"] == "oops"


def test_outputs_are_secret_as_soon_as_an_input_is(
    commands: command.Commands, server: Server
) -> None:
    outputs = create(
        commands, connection=wire.Secret(server.connection()), create="echo key material"
    )

    assert outputs["stdout"] == wire.Secret("key material")


def test_a_failing_command_tells_status_and_output_but_never_its_input(
    commands: command.Commands, server: Server
) -> None:
    with pytest.raises(CloudError) as error:
        create(
            commands,
            connection=server.connection(),
            create="cat > /dev/null; echo partial result; echo reason >&2; exit 7",
            stdin=wire.Secret(STDIN),
        )

    text = str(error.value)
    assert "status 7" in text
    assert "partial result" in text
    assert "reason" in text
    assert STDIN not in text, "standard input carries secrets"


def test_an_update_runs_the_update_command_or_else_create_again(
    commands: command.Commands, server: Server
) -> None:
    connection = server.connection()
    old = {"connection": connection, "create": "echo one", "stdout": "one", "stderr": ""}

    with_update = commands.update(
        target(), "id", old, {"connection": connection, "create": "echo 1", "update": "echo 2"}
    )
    without = commands.update(target(), "id", old, {"connection": connection, "create": "echo 1"})

    assert with_update["stdout"] == "2"
    assert without["stdout"] == "1"


def test_delete_runs_on_the_host_in_the_state(
    commands: command.Commands, server: Server, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    outputs = create(
        commands,
        connection=server.connection(),
        create=f"touch {marker}",
        delete=f"rm {marker}",
    )
    assert marker.exists()

    commands.delete(target(), "id", outputs)

    assert not marker.exists()


def test_environment_the_server_drops_is_an_error_that_names_it(
    commands: command.Commands, server: Server
) -> None:
    accepted = create(
        commands,
        connection=server.connection(),
        create="echo $LAB_COLOR",
        environment={"LAB_COLOR": "red"},
    )
    with pytest.raises(CloudError) as error:
        create(
            commands,
            connection=server.connection(),
            create="echo $COLOR",
            environment={"COLOR": "red"},
        )

    assert accepted["stdout"] == "red"
    assert error.value.property == "environment"
    assert "COLOR" in str(error.value)


def test_another_host_key_than_the_pinned_one_is_refused(
    commands: command.Commands, server: Server
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()

    with pytest.raises(CloudError, match=r"cannot reach root@127\.0\.0\.1:\d+: .*[Hh]ost key"):
        create(commands, connection=server.connection(hostKey=other), create="true")


def test_without_a_pinned_key_any_host_is_trusted(
    commands: command.Commands, server: Server
) -> None:
    outputs = create(commands, connection=server.connection(hostKey=None), create="echo in")

    assert outputs["stdout"] == "in"


def test_a_key_the_server_does_not_know_is_refused(
    commands: command.Commands, server: Server
) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()

    with pytest.raises(CloudError, match=r"cannot reach .*[Pp]ermission denied"):
        create(commands, connection=server.connection(privateKey=stranger), create="true")


def test_dialing_ends_after_the_limit_and_says_so(
    commands: command.Commands, server: Server, unused_port: int
) -> None:
    start = time.monotonic()

    with pytest.raises(CloudError, match=r"after 3 tries in \d\.\d s"):
        create(
            commands,
            connection=server.connection(port=unused_port, dialErrorLimit=2),
            create="true",
        )

    assert time.monotonic() - start > 0.2, "0.1 s and 0.15 s lie between the dials"


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_host_behind_a_proxy_is_reached_through_it(
    commands: command.Commands, server: Server
) -> None:
    _Forwarding.asked.clear()
    proxied = server.connection(proxy=server.connection())

    outputs = create(commands, connection=proxied, create="echo behind")

    assert outputs["stdout"] == "behind"
    assert _Forwarding.asked == [("127.0.0.1", server.port)]


def test_a_command_ends_at_its_custom_timeout(commands: command.Commands, server: Server) -> None:
    slow = {"connection": server.connection(), "create": "sleep 60"}

    with pytest.raises(CloudError, match=r"within 0\.5 s"):
        commands.create(target(timeout=0.5), slow, partial=None)


def test_cancel_ends_running_commands(commands: command.Commands) -> None:
    failures: list[CloudError] = []

    def run() -> None:
        try:
            create(commands, command.LOCAL, create="sleep 60")
        except CloudError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        commands.cancel()
        thread.join(0.05)

    assert [error.code for error in failures] == ["Cancelled"]


def test_a_local_command_gets_directory_environment_and_interpreter(
    commands: command.Commands, tmp_path: Path
) -> None:
    outputs = create(
        commands,
        command.LOCAL,
        create="import os; print(os.getcwd(), os.environ['COLOR'], input())",
        interpreter=["/usr/bin/env", "python3", "-c"],
        dir=str(tmp_path),
        environment={"COLOR": "red"},
        stdin="in",
    )

    assert outputs["stdout"] == f"{tmp_path} red in"


def test_previous_output_reaches_update_and_delete_unless_switched_off(
    commands: command.Commands,
) -> None:
    old = {"create": "true", "stdout": "before", "stderr": ""}
    show = "echo ${PULUMI_COMMAND_STDOUT:-none}"

    told = commands.update(target(command.LOCAL), "id", old, {"create": show})
    silent = commands.update(
        target(command.LOCAL), "id", old, {"create": show, "addPreviousOutputInEnv": False}
    )

    assert told["stdout"] == "before"
    assert silent["stdout"] == "none"


def test_only_triggers_replace(commands: command.Commands) -> None:
    old = {"create": "a", "triggers": ["1"], "connection": {"host": "h"}}

    changed = commands.diff(target(), old, {}, {**old, "create": "b", "connection": {"host": "i"}})
    triggered = commands.diff(target(), old, {}, {**old, "triggers": ["2"]})

    assert changed.replaces == ()
    assert set(changed.kinds) == {"create", "connection.host"}
    assert triggered.replaces == ("triggers[0]",)


def test_without_hosts_a_remote_command_succeeds_with_empty_outputs(tmp_path: Path) -> None:
    handler = command.handler(tmp_path, "")

    outputs = create(handler, connection={"host": "192.0.2.1"}, create="reboot")

    assert (outputs["stdout"], outputs["stderr"]) == ("", "")


def test_a_preview_runs_nothing_and_leaves_outputs_unknown(
    commands: command.Commands, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    inputs = {"create": f"touch {marker}"}

    _, outputs = commands.create(target(command.LOCAL, preview=True), inputs, partial=None)

    assert outputs == inputs
    assert not marker.exists()


def test_an_unknown_field_of_a_connection_is_named_without_its_neighbours(
    commands: command.Commands,
) -> None:
    connection = wire.Secret({"host": "h", "privateKey": "KEY", "hostkey": "x"})

    _, problems = commands.check(target(), {}, {"connection": connection, "create": "true"})

    assert [problem.property for problem in problems] == ["connection.hostkey"]
    assert "did you mean 'hostKey'" in problems[0].reason
    assert "KEY" not in str(problems)
