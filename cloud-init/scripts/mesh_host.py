"""What mesh-apply asks of the host it is on: commands, files, programs from the store.

Each function stands alone; what is done when is in mesh-apply.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from mesh.bundle import Artifact

DOWNLOAD_TRIES = 5
LOCK_SECONDS = 300
JOURNAL_LINES = 20


class ApplyError(Exception):
    """What failed, and the unit whose journal tells more."""

    def __init__(self, step: str, reason: str, unit: str = "") -> None:
        super().__init__(f"step {step}: {reason}")
        self.unit = unit


def attempt(command: Sequence[str], seconds: float) -> str | None:
    """None when the command succeeds, else what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"no answer in {seconds:.1f} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    said = (done.stdout + done.stderr).strip()[-2000:]
    return None if done.returncode == 0 else f"status {done.returncode}, it said: {said}"


def demand(step: str, command: Sequence[str], unit: str = "") -> None:
    failed = attempt(command, 300)
    if failed:
        raise ApplyError(step, f"{' '.join(command)}: {failed}", unit)


def systemctl(verb: str, name: str) -> str:
    return output("systemctl", verb, name).strip()


def journal(unit: str) -> str:
    return output("journalctl", "--no-pager", f"--lines={JOURNAL_LINES}", f"--unit={unit}")


def output(*command: str) -> str:
    """What a command says, be it well or not."""
    return subprocess.run(command, capture_output=True, text=True).stdout


def is_as(path: Path, mode: int, owner: tuple[int, int] | None) -> bool:
    found = path.stat()
    right = owner is None or (found.st_uid, found.st_gid) == owner
    return right and stat.S_IMODE(found.st_mode) == mode


def write(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    """Replace a file at once: readers see the old or the new one, a crash leaves one of them."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        if owner:
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    fresh.replace(path)


def hash_of(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def download(artifact: Artifact, target: Path) -> None:
    """Fetch to `target`; a broken connection is tried again, a wrong content is refused."""
    what = f"{artifact.name}: {artifact.url}"
    for number in range(DOWNLOAD_TRIES):
        try:
            fetch(artifact.url, target)
            break
        except OSError as error:  # URLError, timeouts and resets are OSErrors
            if number == DOWNLOAD_TRIES - 1:
                raise ApplyError("artifacts", f"{what}: {error}") from None
            time.sleep(2**number)
    found = hash_of(target)
    if found != artifact.sha256:
        raise ApplyError("artifacts", f"{what} has sha256 {found}, expected {artifact.sha256}")


def fetch(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=30) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file, 1 << 20)
        size = answer.headers.get("Content-Length")
        if size is not None and int(size) != file.tell():
            raise ConnectionError(f"{file.tell()} of {size} bytes came")
        file.flush()
        os.fsync(file.fileno())


def unpack(artifact: Artifact, archive: Path, folder: Path) -> Path:
    """The archive's single top folder, below `folder`."""
    folder.mkdir()
    demand("artifacts", ["tar", "-xzf", str(archive), "--no-same-owner", "-C", str(folder)])
    tops = list(folder.iterdir())
    if len(tops) != 1 or not tops[0].is_dir():
        raise ApplyError("artifacts", f"{artifact.name}: the archive has not one top folder")
    return tops[0]


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, on its file system; one that a crash left is cleared."""
    folder = path.with_name(f".{path.name}.download")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other run at the same time; ApplyError when one does not end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        wait = ["flock", f"--timeout={LOCK_SECONDS}", str(file.fileno())]
        # The lock is the open file's: it stays when flock ends.
        if subprocess.run(wait, pass_fds=[file.fileno()]).returncode != 0:
            raise ApplyError("lock", f"another run holds {path} for {LOCK_SECONDS} s")
        yield
