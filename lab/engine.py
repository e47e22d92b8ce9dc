"""The real Pulumi engine over the simulated clouds, in a directory of its own.

Everything a run needs or leaves is below one state directory: engine binaries, plugins, the
state backend, the passphrase, the clouds' books. The program's directory is only read: pulumi
runs in a shadow of it, where all is a symlink but the stack files, which pulumi may write.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lab import launcher, stubs
from lab.plugin_host import PluginHost
from lab.store import Store

# What the SDKs in requirements.txt ask the engine for.
PLUGINS: Final = {
    "alicloud": "4.0.0",
    "tencentcloud": "0.2.3",
    "aws": "7.51.1",
    "command": "1.2.1",
    "random": "4.21.4",
    "tls": "5.6.2",
}
_BINARIES: Final = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec")
_REPOSITORY: Final = Path(__file__).parent.parent
# The commands of pulumi that start plugins, and so the plugin host.
_WITH_PLUGINS: Final = {"preview", "up", "refresh", "destroy", "import"}
# -S -E: no site, no PYTHON* variables; a plugin starts once per provider resource.
_PLUGIN: Final = """\
#!{python} -SE
import sys
sys.path.insert(0, {repository!r})
sys.path.append({site!r})
from lab import launcher
launcher.main({name!r}, {version!r})
"""
# What ties a stack file to a passphrase that the lab does not have.
_SECRET_KEYS: Final = ("encryptionsalt", "secretsprovider", "encryptedkey")


class EngineError(Exception):
    """The engine cannot be run, or ended with an error where that is not allowed."""


@dataclass(frozen=True)
class Result:
    """How a run of pulumi ended."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    def check(self) -> Result:
        """The result itself; EngineError with what pulumi said when it failed."""
        if self.returncode != 0:
            words = " ".join(self.args)
            said = f"{self.stdout}\n{self.stderr}".strip()
            raise EngineError(f"pulumi {words} ended with {self.returncode}:\n{said}")
        return self


class Engine:
    """Runs one Pulumi program.

    `state` is made when missing and may be shared by programs. `program` holds Pulumi.yaml.
    `dist` holds the engine's binaries and manifest.json. EngineError when one is missing.
    """

    def __init__(self, state: Path, program: Path, dist: Path = _REPOSITORY / "dist") -> None:
        self.state = state.absolute()
        self.program = program.absolute()
        self._bin = self.state / "bin"
        self._home = self.state / "pulumi-home"
        self._backend = self.state / "backend"
        self._passphrase = self.state / "passphrase"
        self._plugins = PluginHost()
        key = hashlib.sha256(str(self.program).encode()).hexdigest()[:8]
        self.directory = self.state / "programs" / f"{self.program.name}-{key}"
        for folder in (self.state, self._bin, self._backend, self.directory):
            folder.mkdir(parents=True, exist_ok=True)
        _make_passphrase(self._passphrase)
        _install_binaries(dist, self._bin)
        _install_plugins(self._home)

    @functools.cached_property
    def store(self) -> Store:
        """What the simulated clouds hold; also arms faults and tells of calls."""
        return Store(self.state)

    @property
    def environment(self) -> dict[str, str]:
        """The variables pulumi runs with.

        The caller's own PULUMI_* are left out, and the wish to write no bytecode: each run would
        compile the SDKs anew, some seconds.
        """
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("PULUMI_") and key != "PYTHONDONTWRITEBYTECODE"
        }
        return {
            **kept,
            "PATH": os.pathsep.join((str(self._bin), _python_folder(), kept.get("PATH", ""))),
            "LAB_STATE": str(self.state),
            "PULUMI_HOME": str(self._home),
            "PULUMI_BACKEND_URL": f"file://{self._backend}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
        }

    def _environment_of(self, args: Sequence[str]) -> dict[str, str]:
        """The variables of one run; beside it the plugin host gets ready for its plugins."""
        if not _WITH_PLUGINS.intersection(args):
            return self.environment
        return {**self.environment, launcher.ADDRESS: self._plugins.address(self.environment)}

    # Running

    def run(self, *args: str, timeout: float | None = None) -> Result:
        """Run pulumi with these arguments and wait; `timeout` in seconds.

        EngineError when the time is up; pulumi and its plugins are then gone.
        """
        self.sync()
        command = [str(self._bin / "pulumi"), *args, "--non-interactive", "--color=never"]
        with subprocess.Popen(
            command,
            cwd=self.directory,
            env=self._environment_of(args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                stdout, stderr = process.communicate(timeout=timeout)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    words = " ".join(args)
                    raise EngineError(f"pulumi {words} took over {timeout} s") from None
                raise
        return Result(args, process.returncode, stdout, stderr)

    def stream(self, *args: str) -> int:
        """Run pulumi at the caller's terminal; returns its exit status."""
        self.sync()
        command = [str(self._bin / "pulumi"), *args]
        variables = self._environment_of(args)
        with subprocess.Popen(command, cwd=self.directory, env=variables) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    continue  # pulumi has got it too, and ends in its own time

    def ensure_stack(self, stack: str) -> None:
        """Make the stack if the backend does not have it."""
        project = yaml.safe_load((self.program / "Pulumi.yaml").read_text())["name"]
        if not (self._backend / ".pulumi" / "stacks" / project / f"{stack}.json").exists():
            self.run("stack", "init", stack, "--no-select").check()

    def preview_json(self, stack: str, *args: str) -> dict[str, Any]:
        """The digest of a preview: steps, diagnostics, changeSummary. EngineError if it fails."""
        result = self.run("preview", "--stack", stack, "--json", *args)
        found: dict[str, Any] = json.loads(result.check().stdout)
        return found

    def stack_outputs(self, stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """What the program exports; secrets read "[secret]" unless asked for."""
        shown = ["--show-secrets"] if show_secrets else []
        result = self.run("stack", "output", "--json", "--stack", stack, *shown)
        found: dict[str, Any] = json.loads(result.check().stdout)
        return found

    def export(self, stack: str) -> dict[str, Any]:
        """The stack's state as pulumi keeps it, secrets encrypted."""
        found: dict[str, Any] = json.loads(
            self.run("stack", "export", "--stack", stack).check().stdout
        )
        return found

    # The shadow of the program

    def sync(self) -> None:
        """Bring the shadow up to date with the program; `run` does so itself."""
        project = yaml.safe_load((self.program / "Pulumi.yaml").read_text())
        stacks = str(project.get("stackConfigDir") or "").strip("/.")
        wanted = {
            entry.name: entry
            for entry in self.program.iterdir()
            if entry.name not in {".git", stacks} and not _is_stack_file(entry)
            if entry != self.state
        }
        for link in self.directory.iterdir():
            if link.is_symlink() and link.name not in wanted:
                link.unlink()
        for name, entry in wanted.items():
            link = self.directory / name
            if not link.is_symlink():
                link.symlink_to(entry)
        (self.directory / stacks).mkdir(parents=True, exist_ok=True)
        for source in (self.program / stacks).glob("Pulumi.*.yaml"):
            _sync_stack_file(source, self.directory / stacks / source.name)


def _is_stack_file(path: Path) -> bool:
    return path.name.startswith("Pulumi.") and path.name != "Pulumi.yaml"


def _sync_stack_file(source: Path, copy: Path) -> None:
    """Copy a stack file anew when it has changed, without what only its owner can decrypt.

    Secrets set in the copy (`pulumi config set --secret`) take the place of those left out.
    """
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    mark = copy.with_suffix(".source")  # the digest of what the copy was made from
    if copy.exists() and mark.exists() and mark.read_text() == digest:
        return
    wanted = yaml.safe_load(source.read_text()) or {}
    before = (yaml.safe_load(copy.read_text()) or {}) if copy.exists() else {}
    config = wanted.get("config") or {}
    locked = {key for key, value in config.items() if _is_locked(value)}
    mine = {key: value for key, value in (before.get("config") or {}).items() if key in locked}
    kept = {key: value for key, value in config.items() if key not in locked}
    merged = {key: value for key, value in wanted.items() if key not in _SECRET_KEYS}
    merged |= {key: before[key] for key in _SECRET_KEYS if key in before}
    merged["config"] = {**kept, **mine}
    copy.write_text(yaml.safe_dump(merged, sort_keys=False, allow_unicode=True))
    mark.write_text(digest)


def _is_locked(value: Any) -> bool:
    """Whether a configuration value holds anything encrypted."""
    if isinstance(value, Mapping):
        return "secure" in value or any(map(_is_locked, value.values()))
    return isinstance(value, list) and any(map(_is_locked, value))


# Installing


def _make_passphrase(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))


def _install_binaries(dist: Path, folder: Path) -> None:
    """Lay the engine's binaries side by side as real files: pulumi looks beside itself."""
    try:
        manifest = json.loads((dist / "manifest.json").read_text())
        found = {name: manifest[name] for name in _BINARIES}
    except FileNotFoundError as error:
        raise EngineError(f"{error.filename} is missing; `make artifacts` builds it") from error
    except KeyError as error:
        raise EngineError(
            f"{dist}/manifest.json has no {error}; `make artifacts` builds it"
        ) from error
    mark = folder / "installed.json"
    wanted = json.dumps({name: entry["sha256"] for name, entry in found.items()})
    if mark.exists() and mark.read_text() == wanted:
        return
    for name, entry in found.items():
        fresh = folder / f".{name}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        try:
            fresh.hardlink_to(dist / entry["path"])
        except OSError:  # another file system
            shutil.copy2(dist / entry["path"], fresh)
            fresh.chmod(0o755)
        fresh.replace(folder / name)
    mark.write_text(wanted)


def _install_plugins(home: Path) -> None:
    for name, version in PLUGINS.items():
        folder = home / "plugins" / f"resource-{name}-v{version}"
        folder.mkdir(parents=True, exist_ok=True)
        text = _PLUGIN.format(
            python=sys.executable,
            repository=str(_REPOSITORY),
            site=str(stubs.site_packages()),
            name=name,
            version=version,
        )
        path = folder / f"pulumi-resource-{name}"
        if not path.exists() or path.read_text() != text:
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(text)
            fresh.chmod(0o755)
            fresh.replace(path)


def _python_folder() -> str:
    """Where the running interpreter is, so that the language host takes the same one."""
    return str(Path(sys.executable).parent)
