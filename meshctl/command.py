"""The command line as a whole.

Exit status: 0 done, or healthy; 1 something to see to (degraded, faults, strays); 2 `status`: the
mesh is down; 3 it could not be done, the error says why; 64 wrong usage. `ssh` gives that of its
command.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from meshctl import options, show, stack
from meshctl.commands import (
    addresses,
    clients,
    derp,
    drill,
    handover,
    inventory,
    keys,
    load,
    policy,
    shell,
    status,
    tag,
)
from meshctl.trouble import MeshctlError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Asks the mesh how it is, and tells it what to do.",
)


@app.callback()
def root(
    context: typer.Context,
    stack_name: Annotated[
        str, typer.Option("--stack", envvar="MESHCTL_STACK", help="Which stack is meant.")
    ] = "prod",
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Its outputs, instead of asking Pulumi; - for standard input."
            " As `pulumi stack output --json --show-secrets` prints them: secret.",
        ),
    ] = None,
    project: Annotated[
        Path, typer.Option(help="The folder of Pulumi.yaml and policy/.", show_default=False)
    ] = stack.PROJECT,
) -> None:
    """Where the mesh is found."""
    context.obj = options.Place(stack=stack_name, outputs=outputs, project=project)


app.command()(status.status)
app.command()(inventory.users)
app.command()(inventory.nodes)
app.command()(inventory.names)
app.command()(handover.failover)
app.command()(handover.switchover)
app.command()(drill.drill)
app.command()(load.load)
app.command()(shell.ssh)
app.add_typer(derp.app, name="derp")
app.add_typer(policy.app, name="policy")
app.add_typer(keys.app, name="keys")
app.add_typer(tag.app, name="tag")
app.add_typer(addresses.app, name="addresses")
app.add_typer(clients.app, name="clients")


def main(words: Sequence[str]) -> int:
    """The exit status."""
    try:
        return app(list(words), prog_name="meshctl", standalone_mode=False) or options.OK
    except MeshctlError as error:
        show.note(f"meshctl: {error}")
    except (KeyboardInterrupt, typer.Abort):
        show.note("meshctl: stopped")
    except typer.TyperException as error:
        if error.format_message():  # without any, help was shown
            show.note(f"meshctl: {error.format_message()}")
        return options.WRONG_USE
    return options.NOT_DONE
