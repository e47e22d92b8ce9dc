"""Where one lab keeps its things: a state folder, and caches that labs share.

<state>/world.json     what a program outside needs to know of this world
<state>/model.json     what was declared: networks, firewalls, names, buckets
<state>/names.json     what the name server answers, read afresh after each change
<state>/buckets.json   what the object store serves
<state>/dns-api.json   zones and access keys that the DNS APIs know (mode 600: it has secrets)
<state>/dns-live.json  records made through the DNS APIs, which the name server answers too
<state>/hosts/<name>/  one host: its description, disks, root, console log
<state>/services/      process records and logs of the world's servers
<state>/objects/       contents of bucket objects, by SHA-256
<cache>/               images, package files, the certificate authority
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DEFAULT: Final = Path(__file__).resolve().parents[2] / ".lab"
_held = threading.local()  # how often this thread holds each state's lock


def cache() -> Path:
    """The folder shared by all labs of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mesh" / "lab"


@dataclass(frozen=True)
class State:
    """One lab's folder; every name it gives on the machine starts with `prefix`."""

    root: Path

    @property
    def prefix(self) -> str:
        """`lab-` and six hex digits of the folder's path: labs live side by side."""
        path = str(self.root.resolve())
        return f"lab-{hashlib.sha256(path.encode()).hexdigest()[:6]}"

    @property
    def world(self) -> Path:
        return self.root / "world.json"

    @property
    def model(self) -> Path:
        return self.root / "model.json"

    @property
    def names(self) -> Path:
        return self.root / "names.json"

    @property
    def distances(self) -> Path:
        return self.root / "distances.json"

    @property
    def buckets(self) -> Path:
        return self.root / "buckets.json"

    @property
    def dns_api(self) -> Path:
        return self.root / "dns-api.json"

    @property
    def dns_live(self) -> Path:
        return self.root / "dns-live.json"

    @property
    def hosts(self) -> Path:
        return self.root / "hosts"

    @property
    def services(self) -> Path:
        return self.root / "services"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    def namespace(self, kind: str, name: str = "") -> str:
        """Name of a network namespace: "internet", "operator", or a kind and a name."""
        return "-".join(part for part in (self.prefix, kind, name) if part)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One change of shared things at a time, over threads and processes; nests in a
        thread.
        """
        held: dict[Path, int] = _held.__dict__.setdefault("counts", {})
        if held.get(self.root, 0) == 0:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            descriptor = -1
        held[self.root] = held.get(self.root, 0) + 1
        try:
            yield
        finally:
            held[self.root] -= 1
            if descriptor >= 0:
                os.close(descriptor)


def read_json(path: Path, default: Any = None) -> Any:
    """The file's content, or `default` when there is no such file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return default


def write_json(path: Path, content: Any) -> None:
    """Replace the file at once: a reader sees the old content or the new, never a part."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a text file at once, with the given mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).chmod(mode)
    Path(name).replace(path)
