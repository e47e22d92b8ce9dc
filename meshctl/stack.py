"""Where the mesh is and what opens it: the outputs of the stack, kept in memory only."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from meshctl.trouble import MeshctlError

PROJECT: Final = Path(__file__).resolve().parents[1]
PULUMI_SECONDS: Final = 120  # the state may lie on the other side of the world

Role = Literal["control", "database", "ops", "relay"]


class _Frozen(BaseModel):
    # Outputs that others need may be there too.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Host(_Frozen):
    """One host: `address` is where the world reaches it, or its private one."""

    role: Role
    cloud: str
    zone: str
    private_address: str
    address: str
    host_key: str = Field(min_length=1)
    port: int = 22

    @property
    def private(self) -> bool:
        """Whether it is reached through the bastion only."""
        return self.address == self.private_address


class Store(_Frozen):
    """Where programs are; `everywhere` is whether it serves more than the hosts of its region."""

    url: str
    everywhere: bool


class Clients(_Frozen):
    """What a machine needs to join: hashes of programs by name, stores, rules for its name."""

    programs: dict[str, str]
    stores: dict[str, Store]
    names: tuple[str, ...]


class Mesh(_Frozen):
    """What a stack has put up."""

    server_url: str
    bastion: str
    protect: bool | None = None  # mesh:protect; outputs of an earlier version do not say
    hosts: dict[str, Host]
    operators_key: SecretStr
    clients: Clients | None = None  # none of a stack that an older version brought up

    def names(self, *roles: Role) -> tuple[str, ...]:
        """The hosts of some roles, in that order."""
        return tuple(n for role in roles for n, host in self.hosts.items() if host.role == role)

    def host(self, name: str) -> Host:
        """The host of that name. Raises MeshctlError that lists those there are."""
        if name not in self.hosts:
            known = ", ".join(self.hosts)
            raise MeshctlError(f"{name!r} is no host of this stack; choose from {known}")
        return self.hosts[name]


def load(stack: str, outputs: str | None, project: Path) -> Mesh:
    """The mesh of a stack, or the one in `outputs`: a file as `pulumi stack output --json
    --show-secrets` prints it, "-" for standard input. Raises MeshctlError."""
    source = f"stack {stack}" if outputs is None else f"--outputs {outputs}"
    text = _from_pulumi(stack, project) if outputs is None else _from_file(outputs)
    try:
        mesh = Mesh.model_validate_json(text)
    except ValidationError as error:
        faults = [_fault(fault["loc"], fault["msg"]) for fault in error.errors()]
        raise MeshctlError("\n  ".join([f"{source}: not the outputs of a mesh", *faults])) from None
    if mesh.bastion not in mesh.hosts:
        raise MeshctlError(f"{source}: bastion: {mesh.bastion!r} is not among the hosts")
    return mesh


def _fault(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, place)) or "outputs"
    hint = "; `pulumi up` with this version adds it" if message == "Field required" else ""
    return f"{where}: {message.lower()}{hint}"


def _from_file(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MeshctlError(f"--outputs {name}: {error}") from None


def _from_pulumi(stack: str, project: Path) -> str:
    """What the stack's state says; PULUMI is the command line to use instead of `pulumi`."""
    program = shlex.split(os.environ.get("PULUMI", "")) or ["pulumi"]
    command = [*program, "stack", "output", "--json", "--show-secrets", "--stack", stack]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PULUMI_SECONDS,
        )
    except FileNotFoundError:
        raise MeshctlError(
            f"{program[0]}: no such program; put it on PATH, name it in PULUMI, or give --outputs"
        ) from None
    except subprocess.TimeoutExpired:
        raise MeshctlError(f"{shlex.join(command)}: no answer within {PULUMI_SECONDS} s") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()[-60:]) or f"exit status {done.returncode}"
        raise MeshctlError(f"{shlex.join(command)}: {said}")
    return done.stdout
