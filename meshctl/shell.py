"""The `ssh` program with everything pinned. Its key comes from an agent: no file ever holds it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import asyncssh

from meshctl.ssh import CONNECT_SECONDS, KEEPALIVE_SECONDS, USER
from meshctl.stack import Host, Mesh
from meshctl.trouble import MeshctlError

AGENT_SECONDS: Final = 5.0
KEY_SECONDS: Final = 60  # it is needed to connect only; an agent that is left behind forgets it


def config(mesh: Mesh, folder: Path) -> str:
    """An ssh_config(5) that knows every host of the mesh and no other."""
    common = {
        "User": USER,
        "IdentityAgent": folder / "agent",
        "IdentityFile": "none",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": folder / "known_hosts",
        "GlobalKnownHostsFile": "none",
        "UpdateHostKeys": "no",
        "ForwardAgent": "no",
        "ConnectTimeout": f"{CONNECT_SECONDS:g}",
        "ServerAliveInterval": f"{KEEPALIVE_SECONDS:g}",
        "LogLevel": "ERROR",
    }
    hosts = [line for name, host in mesh.hosts.items() for line in _host(mesh, name, host)]
    return "\n".join([*hosts, "Host *", *(f"  {key} {value}" for key, value in common.items()), ""])


def _host(mesh: Mesh, name: str, host: Host) -> list[str]:
    through = [f"  ProxyJump {mesh.bastion}"] if host.private and name != mesh.bastion else []
    return [
        f"Host {name}",
        f"  HostName {host.address}",
        f"  Port {host.port}",
        f"  HostKeyAlias {name}",
        *through,
    ]


async def run(mesh: Mesh, name: str, command: Sequence[str]) -> int:
    """The exit status of a command, or of a shell without one, on this terminal."""
    mesh.host(name)
    with tempfile.TemporaryDirectory(prefix="meshctl-") as made:
        folder = Path(made)  # mode 700
        keys = [f"{known} {host.host_key}\n" for known, host in mesh.hosts.items()]
        (folder / "known_hosts").write_text("".join(keys), encoding="utf-8")
        (folder / "config").write_text(config(mesh, folder), encoding="utf-8")
        async with _agent(mesh, folder / "agent"):
            words = [
                "ssh",
                "-F",
                str(folder / "config"),
                name,
                *(["--", *command] if command else []),
            ]
            child = await asyncio.create_subprocess_exec(*words)
            return await child.wait()


@contextlib.asynccontextmanager
async def _agent(mesh: Mesh, path: Path) -> AsyncIterator[None]:
    """An agent that holds the operators' key in memory until the end of the block."""
    try:
        agent = await asyncio.create_subprocess_exec(
            *("ssh-agent", "-D", "-a", str(path)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise MeshctlError("ssh-agent: no such program; install OpenSSH's client") from None
    try:
        await _give_key(mesh, path)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            agent.terminate()
        await agent.wait()


async def _give_key(mesh: Mesh, path: Path) -> None:
    key = asyncssh.import_private_key(mesh.operators_key.get_secret_value())
    try:
        async with asyncio.timeout(AGENT_SECONDS):
            while not path.exists():
                await asyncio.sleep(0.01)
            async with asyncssh.connect_agent(str(path)) as client:
                await client.add_keys([key], lifetime=KEY_SECONDS)
    except (TimeoutError, OSError, ValueError, asyncssh.Error) as error:
        raise MeshctlError(f"ssh-agent does not take the key: {error}") from None
