"""The lab's command line: python -m lab COMMAND."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from lab.world import sites, state
from lab.world.errors import WorldError
from lab.world.host import HostSpec
from lab.world.model import Cut
from lab.world.services import acme
from lab.world.world import World

_console: Final = Console(stderr=True, soft_wrap=True, highlight=False)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    options = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun is undone
    try:
        status: int = options.run(options)
    except WorldError as error:
        _console.print(f"[red]lab:[/red] {error.message}")
        if error.hint:
            _console.print(error.hint)
        return 1
    return status


# Commands


def _start(options: argparse.Namespace) -> int:
    if options.api_only:
        options.state.mkdir(parents=True, exist_ok=True)
        _console.print(f"the clouds of {options.state} are APIs and nothing more")
        return 0
    golden = tuple(options.golden.split(",")) if options.golden else ()
    with _console.status("starting") as shown:
        world = World.start(
            options.state, golden, lambda step: shown.update(step), options.acme_validity
        )
    _console.print(f"a world runs from {world.state.root}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    with _console.status("stopping"):
        World(state.State(options.state.resolve())).stop()
    _console.print("nothing is left: no process, namespace, mount, loop device, file")
    return 0


def _status(options: argparse.Namespace) -> int:
    found = World.open(options.state).status()
    if options.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return 0
    table = Table("host", "network", "address", "public", "state")
    for host in found["hosts"]:
        table.add_row(*(str(host[key] or "") for key in _COLUMNS))
    Console().print(table)
    for name, running in found["services"].items():
        Console().print(f"{name}: {'running' if running else 'DEAD'}")
    return 0 if all(found["services"].values()) else 1


_COLUMNS: Final = ("name", "network", "address", "public", "state")


def _exec(options: argparse.Namespace) -> int:
    line = [word for word in options.command if word != "--"] or ["bash"]
    world = World.open(options.state)
    if options.host == "operator":
        return _become(world.operator.line(line))
    terminal = {"TERM": os.environ.get("TERM", "dumb")}
    return _become(world.host(options.host).exec_line(line, terminal))


def _console_log(options: argparse.Namespace) -> int:
    log = World.open(options.state).host(options.host).console
    return _become(["tail", "-n", "100", *(["-f"] if options.follow else []), str(log)])


def _host(options: argparse.Namespace) -> int:
    world = World.open(options.state)
    if options.verb == "remove":
        world.remove_host(options.name)
        return 0
    data = options.user_data.read_bytes() if options.user_data else b""
    keys = tuple(path.read_text().strip() for path in options.key)
    spec = HostSpec(name=options.name, user_data=data, public_keys=keys)
    with _console.status(f"booting {options.name}"):
        world.add_host(spec, options.network, public=options.public)
    _, place = world.place(options.name)
    sys.stdout.write(f"{place.public or place.address}\n")
    return 0


def _power(options: argparse.Namespace) -> int:
    host = World.open(options.state).host(options.host)
    with _console.status(f"{options.verb} {options.host}"):
        {"on": host.start, "off": host.power_off, "stop": host.stop}[options.verb]()
    return 0


def _terminate(options: argparse.Namespace) -> int:
    from lab.terminate import terminate  # with the clouds' rules, which no other command needs

    with _console.status(f"terminating {options.host}"):
        gone = terminate(options.state, options.host)
    _console.print(f"{gone.type} {gone.id} is gone; `pulumi up --refresh` notices")
    return 0


def _cut(options: argparse.Namespace) -> int:
    cut = Cut(
        hosts=(options.one, options.other),
        protocol=options.protocol,
        ports=tuple(options.port),
        except_ports=tuple(options.except_port),
    )
    World.open(options.state).cut(cut)
    return 0


def _block_udp(options: argparse.Namespace) -> int:
    """Without STUN two clients would not even learn that they are blocked."""
    cut = Cut(hosts=(options.one, options.other), protocol="udp", except_ports=(3478,))
    World.open(options.state).cut(cut)
    return 0


def _heal(options: argparse.Namespace) -> int:
    World.open(options.state).heal(options.one, options.other)
    return 0


def _pulumi(options: argparse.Namespace) -> int:
    from lab.engine import Engine  # the engine's binaries are only needed here

    arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    return Engine(options.state, options.program).stream(*arguments)


def _become(line: Sequence[str]) -> int:
    os.execvp(line[0], list(line))


# Arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="Clouds on this machine.")
    # Before the command and after it alike.
    folder: dict[str, Any] = {"type": Path, "help": f"the lab's folder ({state.DEFAULT})"}
    parser.add_argument("-s", "--state", default=state.DEFAULT, **folder)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-s", "--state", default=argparse.SUPPRESS, **folder)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Any, help: str, *arguments: tuple[str, dict[str, Any]]) -> None:
        command = commands.add_parser(name, help=help, description=help, parents=[common])
        command.set_defaults(run=run)
        for flag, settings in arguments:
            command.add_argument(flag, **settings)

    _add_life(add)
    _add_hosts(add)
    _add_faults(add)
    return parser


def _add_life(add: Any) -> None:
    add(
        *("start", _start, "start a new world; an earlier one in the folder is removed"),
        ("--api-only", {"action": "store_true", "help": "simulate the APIs, boot nothing"}),
        ("--golden", {"metavar": "PKG,…", "help": "bake these packages into the image"}),
        (
            "--acme-validity",
            {
                "metavar": "SECONDS",
                "type": int,
                "default": acme.VALIDITY_SECONDS,
                "help": "how long certificates of the ACME server are valid (default: 90 days)",
            },
        ),
    )
    add("stop", _stop, "remove everything and make sure that nothing is left")
    add(
        *("status", _status, "show hosts and services; status 1 when a service is dead"),
        ("--json", {"action": "store_true"}),
    )
    add(
        *("pulumi", _pulumi, "run pulumi on a program, with the lab's clouds"),
        ("--program", {"type": Path, "default": Path(), "help": "the folder of Pulumi.yaml"}),
        ("arguments", {"nargs": argparse.REMAINDER, "metavar": "-- ARGS"}),
    )


def _add_hosts(add: Any) -> None:
    host: tuple[str, dict[str, Any]] = ("host", {"metavar": "HOST"})
    add(
        *("exec", _exec, "run a command as root in a host, or as 'operator' outside"),
        *(host, ("command", {"nargs": argparse.REMAINDER, "metavar": "[--] CMD"})),
    )
    add(
        *("console", _console_log, "show what a host printed"),
        *(host, ("--follow", {"action": "store_true"})),
    )
    verbs = {"choices": ("on", "off", "stop"), "help": "off cuts the power, stop shuts down"}
    add("power", _power, "switch a host on or off", host, ("verb", verbs))
    add("terminate", _terminate, "end a host's instance behind Pulumi's back", host)
    add(
        *("host", _host, "boot a host outside any cloud and print its address, or remove it"),
        ("verb", {"choices": ("add", "remove")}),
        ("name", {}),
        ("--public", {"action": "store_true", "help": "with a public address of its own"}),
        ("--user-data", {"type": Path, "metavar": "FILE"}),
        ("--key", {"type": Path, "metavar": "FILE", "action": "append", "default": []}),
        ("--network", {"default": sites.DEFAULT, "help": "its site (default: %(default)s)"}),
    )


def _add_faults(add: Any) -> None:
    pair: tuple[tuple[str, dict[str, Any]], ...] = (
        ("one", {}),
        ("other", {"help": "or '*' for everyone else"}),
    )
    add(
        *("cut", _cut, "drop all traffic between two hosts, established connections too"),
        *pair,
        ("--protocol", {"choices": ("tcp", "udp", "icmp")}),
        ("--port", {"type": int, "action": "append", "default": []}),
        ("--except-port", {"type": int, "action": "append", "default": []}),
    )
    add("block-udp", _block_udp, "drop UDP between two hosts, except STUN (3478)", *pair)
    add("heal", _heal, "undo every cut between two hosts", *pair)


if __name__ == "__main__":
    sys.exit(main())
