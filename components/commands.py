"""Commands on hosts: one user, one pinned host key, secrets on standard input only."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_command as command

USER = "mesh"
RemoteCommand = command.remote.Command
_DIAL_TRIES = 90  # with the provider's pause of up to 5 s: a slow host has some 7 minutes
_DIAL_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Door:
    """How to reach a host: its address, the key that opens it, the host key it must show.

    `behind` is the host to go through when the address is private.
    """

    address: pulumi.Output[str]
    private_key: pulumi.Output[str]
    host_key: pulumi.Output[str]
    behind: Door | None = None

    def connection(self) -> command.remote.ConnectionArgs:
        """The provider's form of it."""
        return command.remote.ConnectionArgs(
            host=self.address,
            user=USER,
            private_key=self.private_key,
            host_key=self.host_key,
            dial_error_limit=_DIAL_TRIES,
            per_dial_timeout=_DIAL_SECONDS,
            proxy=self.behind.proxy() if self.behind else None,
        )

    def proxy(self) -> command.remote.ProxyConnectionArgs:
        """The provider's form of it as a host on the way."""
        return command.remote.ProxyConnectionArgs(
            host=self.address,
            user=USER,
            private_key=self.private_key,
            host_key=self.host_key,
            dial_error_limit=_DIAL_TRIES,
            per_dial_timeout=_DIAL_SECONDS,
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command. `stdin` may hold secrets; `runs_again_with` are values whose change means a
    new host, so that the step starts from nothing."""

    command: str
    stdin: pulumi.Input[str] | None
    runs_again_with: list[pulumi.Input[str]]
    minutes: int


def run(name: str, door: Door, step: Step, opts: pulumi.ResourceOptions) -> command.remote.Command:
    """Runs `step` on the host; again in place whenever its standard input changes.

    Output goes nowhere but the (secret) result and, when it fails, the error.
    """
    secret = pulumi.ResourceOptions(
        additional_secret_outputs=["stdout", "stderr"],
        custom_timeouts=pulumi.CustomTimeouts(create=f"{step.minutes}m", update=f"{step.minutes}m"),
    )
    return command.remote.Command(
        name,
        connection=door.connection(),
        create=step.command,
        stdin=None if step.stdin is None else pulumi.Output.secret(step.stdin),
        triggers=step.runs_again_with,
        logging=command.remote.Logging.NONE,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(opts, secret),
    )
