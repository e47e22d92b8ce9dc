"""Covers the process that forks plugins: who ends with whom, and what happens without it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import launcher, plugin_host
from lab.engine import Engine, Result

Run = Callable[..., Result]
Make = Callable[[str], Engine]
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def host() -> plugin_host.PluginHost:
    return plugin_host.PluginHost()


@contextmanager
def _plugin(lab: Engine, address: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A plugin started as pulumi would, by a shell: (shell, process of the plugin, port)."""
    executable = next((lab.state / "pulumi-home").rglob("pulumi-resource-aws"))
    with subprocess.Popen(
        ["/bin/sh", "-c", f"{executable} & echo $!; wait"],
        stdout=subprocess.PIPE,
        text=True,
        env={**lab.environment, launcher.ADDRESS: address},
    ) as shell:
        assert shell.stdout is not None
        process, port = int(shell.stdout.readline()), int(shell.stdout.readline())
        try:
            yield shell, process, port
        finally:
            shell.kill()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def _wait_until(condition: Callable[[], bool], why: str, within: float = 10) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)  # the kernel tells nobody when a stranger's process ends


def test_a_forked_plugin_ends_with_its_launcher(
    lab_program: Make, host: plugin_host.PluginHost
) -> None:
    lab = lab_program("")

    with _plugin(lab, host.address(lab.environment)) as (_, process, port):
        assert _listens(port)
        os.kill(process, signal.SIGKILL)

        _wait_until(lambda: not _listens(port), "the plugin outlives its launcher")


def test_a_forked_plugin_ends_with_pulumi(lab_program: Make, host: plugin_host.PluginHost) -> None:
    lab = lab_program("")

    with _plugin(lab, host.address(lab.environment)) as (pulumi, process, port):
        assert _listens(port)
        pulumi.kill()

        _wait_until(lambda: not _listens(port), "the plugin outlives pulumi")
        _wait_until(lambda: not _is_alive(process), "the launcher outlives pulumi")


def test_a_forked_plugin_outlives_its_host(lab_program: Make) -> None:
    lab = lab_program("")
    host = plugin_host.PluginHost()
    address = host.address(lab.environment)

    with _plugin(lab, address) as (_, _, port):
        del host

        assert not Path(address).exists()
        assert _listens(port)


def test_a_plugin_serves_by_itself_where_there_is_no_host(
    lab_program: Make, tmp_path: Path
) -> None:
    lab = lab_program("")

    with _plugin(lab, str(tmp_path / "nobody")) as (_, _, port):
        assert _listens(port)


def test_a_dead_host_is_replaced(lab_program: Make, host: plugin_host.PluginHost) -> None:
    lab = lab_program("")
    first = host.address(lab.environment)
    assert host.process is not None
    host.process.kill()
    host.process.wait()

    second = host.address(lab.environment)

    assert second != first
    with _plugin(lab, second) as (_, process, _):
        assert b"plugin_host" not in Path(f"/proc/{process}/cmdline").read_bytes()


def test_nothing_is_left_of_a_host_whose_owner_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent("""
            import os
            from lab.plugin_host import PluginHost
            host = PluginHost()
            print(host.address(os.environ), host.process.pid, flush=True)
            input()
        """)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    address, process = owner.stdout.readline().split()
    assert _is_alive(int(process))

    owner.kill()
    owner.communicate()

    _wait_until(lambda: not _is_alive(int(process)), "the host outlives its owner")
    assert not Path(address).parent.exists()


def test_every_program_has_a_host_of_its_own() -> None:
    one, other = plugin_host.PluginHost(), plugin_host.PluginHost()

    assert one.address(os.environ) != other.address(os.environ)


def test_a_forked_plugin_has_the_folder_and_the_variables_of_its_run(
    lab_program: Make, pulumi: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_program("""
        import pulumi
        import pulumi_command as command
        said = command.local.Command("say", create="pwd; echo $WORD", update="pwd; echo $WORD",
                                     triggers=[pulumi.Config().get("round")])
        pulumi.export("said", said.stdout)
    """)
    pulumi(lab, "preview").check()  # starts the host, without the variable
    monkeypatch.setenv("WORD", "later")
    pulumi(lab, "up").check()

    assert lab.stack_outputs("dev")["said"].split("\n") == [str(lab.directory), "later"]
