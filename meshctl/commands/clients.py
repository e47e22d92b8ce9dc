"""`meshctl clients`: what a machine needs to join; docs/guides/clients.md."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Final, Literal

import typer

from meshctl import options, show
from meshctl.stack import Clients, Mesh, Store
from meshctl.trouble import MeshctlError

app = typer.Typer(no_args_is_help=True, help="How machines join.")

INSTALLER: Final = "install.sh"
_FILE: Final = "mesh-install.sh"  # what the line calls it on the machine
_NAMES: Final = ("tailscale", "tailscaled")

From = Annotated[
    str | None, typer.Option("--store", help="Which store, such as aws-ap-east-1; the first one.")
]


@app.command()
def line(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The node's name to be.")] = None,
    profile: Annotated[
        Literal["server", "workstation", "locked-down"], typer.Option(help="See the guide.")
    ] = "server",
    key_file: Annotated[
        str, typer.Option(help="Where the key will be on the machine; - for standard input.")
    ] = "mesh-key",
    store: From = None,
) -> None:
    """The command line that puts a Linux machine into the mesh; there is no secret in it."""
    mesh = options.place(context).mesh
    told, place = _clients(mesh), _store(mesh, store)
    if name is not None and not any(re.fullmatch(rule, name) for rule in told.names):
        raise MeshctlError(f"{name!r} is no name of a node; it must be {' or '.join(told.names)}")
    named = ["--hostname", name] if name else []
    words = [
        *("--server", mesh.server_url, "--store", place.url),
        *(word for program in _NAMES for word in (f"--{program}", told.programs[program])),
        *("--profile", profile, "--name-pattern", _pattern(told), *named),
        *("--key-file", key_file),
    ]
    hash = told.programs[INSTALLER]
    url = f"{place.url}/{hash}/{INSTALLER}"
    steps = (
        f"curl -fsSLo {_FILE} {shlex.quote(url)}",
        f"echo '{hash}  {_FILE}' | sha256sum --check --quiet",
        f"sudo sh {_FILE} {shlex.join(words)}",
    )
    show.line(" && ".join(steps))


@app.command()
def variables(context: typer.Context, store: From = None) -> None:
    """The same for the Ansible role: its variables, as JSON, which is YAML too."""
    mesh = options.place(context).mesh
    told, place = _clients(mesh), _store(mesh, store)
    show.as_json(
        {
            "mesh_client_server": mesh.server_url,
            "mesh_client_store": place.url,
            **{f"mesh_client_{name}_sha256": told.programs[name] for name in _NAMES},
            "mesh_client_name_pattern": _pattern(told),
        }
    )


def _clients(mesh: Mesh) -> Clients:
    if mesh.clients is None:
        raise MeshctlError("outputs: clients: missing; `pulumi up` with this version adds it")
    return mesh.clients


def _store(mesh: Mesh, name: str | None) -> Store:
    """The store of that name, or the first one that serves everybody."""
    stores = _clients(mesh).stores
    if name is None:
        found = next((one for one in stores.values() if one.everywhere), None)
        if found is None:
            raise MeshctlError(
                f"every store serves the hosts of its region only: {', '.join(stores)}; choose"
                " one with --store, or join by install.sh --from-repository"
            )
        return found
    if name not in stores:
        raise MeshctlError(f"--store {name}: no such store; choose from {', '.join(stores)}")
    return stores[name]


def _pattern(told: Clients) -> str:
    return "|".join(f"({rule})" for rule in told.names)
