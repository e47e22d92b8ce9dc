"""A plain Debian beside the mesh of stack lab, for tests of how machines join.

Booted once for each file of tests; `plain` gives it to each test as it was before it ever joined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drills import joining
from drills.joining import Ended
from drills.live import Live
from lab.world.command import run
from lab.world.errors import WorldError
from lab.world.host import Host
from tests import stacks
from tests.lab.mesh import Mesh

NAME = "prod-web-bj-051"
KEY = "prod-servers"
# What changes on any running Debian, and what the tests themselves bring.
VOLATILE = re.compile(
    r"/(proc|sys|dev|run|tmp|var/tmp|var/log|var/lib/systemd|var/lib/apt|var/cache/apt)(/|$)"
    r"|/root/mesh-install.sh$|/home/[a-z]+/\.(ansible|sudo_as_admin_successful)(/|$)"
)


@dataclass(frozen=True)
class Plain:
    """A machine that can join, with the line and the key to do so."""

    host: Host
    live: Live = field(repr=False)  # its outputs hold secrets
    line: str
    key: str = field(repr=False)

    def join(self, *words: str) -> Ended:
        """Bring it into the mesh; `words` are added to the installer's options."""
        return joining.run_line(self.host, " ".join([self.line, *words]), self.key)

    def leave(self) -> Ended:
        """Take it out, and make the server forget it."""
        ended = joining.again(self.host, "--uninstall")
        if ended.status:
            raise WorldError(f"{NAME} did not leave: {ended.said}")
        self.live.remove_nodes([NAME])
        return ended

    def files(self) -> dict[str, str]:
        """Every file with its size, but what changes on any running machine."""
        found = self.host.exec(["find", "/", "-xdev", "-printf", "%y %s %p\\n"]).stdout
        rows = (row.split(" ", 2) for row in found.splitlines())
        return {
            path: kind if kind == "d" else f"{kind} {size}"
            for kind, size, path in rows
            if not VOLATILE.match(path)
        }


@pytest.fixture(scope="module")
def machine_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SSH key that opens the plain machine."""
    path = tmp_path_factory.mktemp("ssh") / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    return path


@pytest.fixture(scope="module")
def machine(mesh: Mesh, machine_key: Path) -> Iterator[Plain]:
    live = Live(mesh.world, mesh.outputs)
    line = joining.line(mesh.outputs, NAME)
    public = machine_key.with_suffix(".pub").read_text().strip()
    with joining.plain_machine(mesh.world, NAME, public) as host:
        installer = (stacks.REPOSITORY / "clients/install.sh").read_bytes()
        host.exec(["install", "/dev/stdin", "/root/mesh-install.sh"], stdin=installer)
        yield Plain(host, live, line, mesh.outputs["keys"][KEY])


@pytest.fixture
def plain(machine: Plain) -> Iterator[Plain]:
    """The machine as it was before it ever joined, and so it is left."""
    yield machine
    machine.leave()
