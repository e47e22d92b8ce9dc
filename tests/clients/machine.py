"""A machine to install on: this one's files, but every change goes to a layer that is thrown away.

Programs that would reach further (systemd, package managers) are stood for by tests/clients/fakes.
Needs root, as the lab does.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests import stacks

INSTALLER: Final = stacks.REPOSITORY / "clients/install.sh"
FAKES: Final = Path(__file__).parent / "fakes"
# The daemon needs only to be there: the stand-in of systemd starts nothing.
STANDINS: Final = {"tailscale": FAKES / "tailscale", "tailscaled": FAKES / "systemctl"}
SERVER: Final = "https://hs.mesh.example"
KEY: Final = "hskey-auth-abc-0123456789"
_PATH: Final = "/fake/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETUP: Final = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for own in proc dev; do mount --bind "/$own" "$1/root/$own"; done
echo ready
exec cat
"""


@dataclass(frozen=True)
class Ended:
    """How a run of the installer ended: its exit status, its one line, and what it told people."""

    status: int
    told: dict[str, Any]
    said: str


@dataclass(frozen=True)
class Machine:
    """One throwaway machine. `store` is the URL of an artifact store with both programs."""

    holder: int
    folder: Path
    store: str
    hashes: Mapping[str, str]
    server: str
    traces: list[str] = field(default_factory=list)  # all that runs printed

    @property
    def upper(self) -> str:
        return f"{self.folder}/upper"

    def run(self, *line: str, stdin: str = "") -> str:
        """What a program prints on this machine; CalledProcessError when it fails."""
        done = self._start([*self._inside(), *line], stdin)
        done.check_returncode()
        return done.stdout

    def write(self, path: str, text: str = "", mode: str = "644") -> None:
        """A file on this machine."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, stdin=text)

    def read(self, path: str) -> str:
        """The text of a file on this machine."""
        return self.run("cat", path)

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.run("sh", "-c", 'test ! -e "$1" || echo yes', "sh", path) != ""

    def changes(self) -> dict[str, str]:
        """Every file that is not as it was, with its type, mode and content's hash."""
        listing = ["find", self.upper, "-mindepth", "1", "-printf", "%y %m %P\\n"]
        found: dict[str, str] = {}
        for row in self._start(listing).stdout.splitlines():
            kind, mode, path = row.split(" ", 2)
            # /run and what the test itself put there are no part of the machine; a folder is there
            # too when only something in it was changed.
            if path.startswith(("fake", "run")) or (kind == "d" and Path("/", path).is_dir()):
                continue
            found[path] = f"{kind} {mode} {self._hash(path)}"
        return found

    def calls(self, *words: str) -> list[str]:
        """What the stand-ins were asked, of all that begins with one of the words."""
        lines = self.read("/fake/calls").splitlines() if self.has("/fake/calls") else []
        return [line for line in lines if not words or line.startswith(words)]

    def install(
        self,
        *options: str,
        key: str | None = KEY,
        stdin: str = "",
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Ended:
        """Run the installer from the store, with the key in a file unless it is None."""
        source = [
            *("--store", self.store),
            *(word for name, hash in self.hashes.items() for word in (f"--{name}", hash)),
        ]
        return self.installer(*source, *options, key=key, stdin=stdin, env=env)

    def installer(
        self,
        *options: str,
        key: str | None = KEY,
        stdin: str = "",
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Ended:
        """Run the installer with the server's URL and these options."""
        words = ["--server", self.server, *options]
        if key is not None:
            self.write("/fake/mesh-key", key + "\n", "600")
            words += ["--key-file", "/fake/mesh-key"]
        return self.script(*words, stdin=stdin, env=env)

    def script(
        self, *words: str, stdin: str = "", env: Mapping[str, str] = MappingProxyType({})
    ) -> Ended:
        """Run the installer with exactly these words."""
        done = self._start([*self._inside(env), "sh", "/fake/install.sh", *words], stdin)
        self.traces.append(done.stdout + done.stderr)
        (told,) = done.stdout.splitlines()  # one line, and nothing else
        return Ended(done.returncode, json.loads(told), done.stderr)

    def _hash(self, path: str) -> str:
        script = 'test ! -f "$1" || sha256sum <"$1"'
        return self._start(["sh", "-c", script, "sh", f"{self.upper}/{path}"]).stdout[:12]

    def _inside(self, env: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        settings = [f"PATH={_PATH}", "HOME=/root", *(f"{k}={v}" for k, v in env.items())]
        return ["chroot", f"{self.folder}/root", "env", "-i", *settings]

    def _start(self, line: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = ["nsenter", f"--target={self.holder}", "--mount", *line]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )


@contextmanager
def machine(
    folder: Path,
    os_release: str,
    programs: Mapping[str, Path] = STANDINS,
    server: str = SERVER,
) -> Iterator[Machine]:
    """A fresh machine that says of itself that it is of that distribution; its store has these
    programs."""
    store = folder / "store"
    hashes = {name: _publish(store, name, path) for name, path in programs.items()}
    (folder / "machine").mkdir()
    line = ["unshare", "--mount", "sh", "-c", _SETUP, "sh", str(folder / "machine")]
    with (
        _served(store) as url,
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "ready\n"
        made = Machine(holder.pid, folder / "machine", url, hashes, server)
        made._start(["cp", "-r", str(FAKES), str(INSTALLER), f"{made.folder}/root/"])
        made._start(["sh", "-c", _FURNISH, "sh", f"{made.folder}/root"])
        made.write("/etc/os-release", os_release)
        yield made
        holder.stdin.close()  # its mounts go with it


_FURNISH: Final = """
set -e
cd "$1"
rm -rf var/lib/tailscale var/cache/tailscale  # of a client that ran on this machine
mkdir -p fake run/systemd/system var/lib/apt/lists etc/apt/keyrings etc/yum.repos.d etc/pki/rpm-gpg
mv fakes fake/bin && mv install.sh fake/
cd fake/bin
mv tailscale tailscale.package
for name in apt-get dnf dpkg-query rpm; do cp package $name; done
"""


def _publish(store: Path, name: str, program: Path) -> str:
    """Put a program into a store, under its hash."""
    hash = hashlib.sha256(program.read_bytes()).hexdigest()
    (store / hash).mkdir(parents=True)
    shutil.copy(program, store / hash / name)
    return hash


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test says what matters."""


def spoil(machine: Machine, program: str) -> None:
    """From now on the store has something else under the hash of that program."""
    store = machine.folder.parent / "store"
    (store / machine.hashes[program] / program).write_text("#!/bin/sh\necho evil\n")


def empty(machine: Machine) -> None:
    """From now on the store has nothing."""
    shutil.rmtree(machine.folder.parent / "store")
