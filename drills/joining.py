"""A plain machine that joins the way its owner would: by the line that meshctl prints."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drills.live import Live
from lab.world.command import run, until
from lab.world.errors import WorldError
from lab.world.host import Host, HostSpec
from lab.world.world import World

MESHCTL: Final = Path(__file__).parent.parent / "scripts/meshctl"
LOGIN: Final = "debian"
_WITHIN: Final = 300.0  # s: plan 1.2 gives a client five minutes


@dataclass(frozen=True)
class Ended:
    """How a run of the installer ended: its exit status, its one line, what it told people."""

    status: int
    told: dict[str, Any]
    said: str


def line(outputs: Mapping[str, Any], *words: str) -> str:
    """The command line that `meshctl clients line WORDS` prints, with the key on its input."""
    command = [str(MESHCTL), "--outputs", "-", "clients", "line", "--key-file", "-", *words]
    return run(command, stdin=json.dumps(outputs)).stdout.strip()


def run_line(host: Host, text: str, key: str = "") -> Ended:
    """Run a printed line on a machine as its administrator would."""
    script = f"cd && {text}"  # at home, as whoever has logged in
    done = host.exec(["sh", "-c", script], stdin=key, check=False, within=_WITHIN)
    told = json.loads(done.stdout) if done.stdout else {}
    return Ended(done.status, told, done.stderr)


def again(host: Host, *words: str, key: str = "") -> Ended:
    """Run the installer that an earlier line has left, with other words."""
    return run_line(host, f"sh mesh-install.sh {' '.join(words)}", key)


def arguments(text: str) -> str:
    """Those of the installer in a printed line, as they stand."""
    found = re.search(r"sudo sh mesh-install\.sh (.*)$", text)
    if found is None:
        raise ValueError(f"no installer in {text!r}")
    return found[1]


@contextmanager
def plain_machine(world: World, name: str, public_key: str = "") -> Iterator[Host]:
    """A freshly booted Debian that has nothing of the mesh; removed afterwards."""
    keys = (public_key,) if public_key else ()
    spec = HostSpec(name=name, user_data=b"#cloud-config\n", public_keys=keys, login=LOGIN)
    host = world.add_host(spec, public=True)
    try:
        host.wait_cloud_init()
        yield host
    finally:
        world.remove_host(name)


@dataclass(frozen=True)
class Join:
    """How long a machine took, in seconds from the start of the line: until the installer was done,
    and until a peer answered through the mesh."""

    installed: float
    answered: float


def timed(live: Live, peer: str, name: str, key: str) -> Join:
    """A fresh machine joins and pings the node `peer`. Its node is removed afterwards.

    WorldError when it does not join, or no answer comes.
    """
    text = line(live.outputs, name)
    with plain_machine(live.world, name) as host:
        began = time.monotonic()
        try:
            ended = run_line(host, text, key)
            if ended.status:
                raise WorldError(f"{name} did not join: {ended.said}")
            installed = time.monotonic() - began
            ping = ["tailscale", "ping", "--c=1", "--timeout=2s", "--until-direct=false", peer]
            until(
                lambda: host.exec(ping, check=False).status == 0,
                within=_WITHIN,
                what=f"an answer of {peer} to {name}",
            )
            return Join(installed, time.monotonic() - began)
        finally:
            live.remove_nodes([name])
