"""mesh-apply, run as the program it is, against a folder instead of /.

systemctl is a fake that keeps states in files and writes down its orders. Users, ownership and
real units are for the lab's tests.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from mesh import bundle

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = ROOT / "cloud-init/scripts/mesh-apply"
UNIT: Final = "/etc/systemd/system/demo.service"
CONFIG: Final = "/etc/demo/config"
EMPTY: Final[dict[str, list[str]]] = {
    key: [] for key in ("changed", "removed", "started", "restarted", "reloaded", "stopped")
}
SYSTEMCTL: Final = """#!/bin/sh
[ "$1" = --quiet ] && shift
state=$FAKE/$(eval echo '${'$#'}')
case $1 in
is-active) [ -e "$state.active" ] && echo active || echo inactive; exit ;;
is-enabled) [ -e "$state.enabled" ] && echo enabled || echo disabled; exit ;;
is-failed) [ -e "$state.failed" ] && echo failed || echo active; exit ;;
esac
echo "$*" >>"$FAKE/orders"
[ -e "$FAKE/broken" ] && [ "$1" = restart ] && { echo 'no way'; exit 1; }
case $1 in
enable) touch "$state.enabled" ;;
restart) touch "$state.active" ;;
disable) rm -f "$state.active" "$state.enabled" ;;
esac
"""


@dataclass(frozen=True)
class Machine:
    """A folder that stands for a host."""

    root: Path
    fake: Path

    def run(self, wanted: bundle.Bundle | str, *options: str) -> subprocess.CompletedProcess[str]:
        text = wanted if isinstance(wanted, str) else wanted.to_json()
        return subprocess.run(
            [sys.executable, str(PROGRAM), f"--root={self.root}", *options],
            input=text,
            capture_output=True,
            text=True,
            env=os.environ
            | {
                "PATH": f"{self.fake}:{os.environ['PATH']}",
                "FAKE": str(self.fake),
                "PYTHONPATH": str(ROOT),  # for mesh/bundle.py
            },
        )

    def apply(self, wanted: bundle.Bundle, *options: str) -> dict[str, Any]:
        done = self.run(wanted, *options)
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def refused(self, wanted: bundle.Bundle | str) -> str:
        done = self.run(wanted)
        assert done.returncode == 1, f"it should have failed: {done.stdout}"
        assert done.stdout == "", "a failed run has no result"
        return done.stderr

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def orders(self) -> list[str]:
        """What systemctl was told since the last time this was asked."""
        file = self.fake / "orders"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    fake = tmp_path / "bin"
    fake.mkdir()
    for name, text in {
        "systemctl": SYSTEMCTL,
        "journalctl": "#!/bin/sh\necho the journal $*\n",
    }.items():
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)
    return Machine(tmp_path / "root", fake)


def demo(content: str = "one") -> bundle.Bundle:
    return bundle.Bundle(
        directories=(bundle.Directory(path="/var/lib/demo", mode="0700"),),
        files=(
            bundle.File(path=CONFIG, content=content, mode="0640"),
            bundle.File(path=UNIT, content="[Service]\n"),
        ),
        units=(bundle.Unit(name="demo.service", restart_on=(CONFIG, UNIT)),),
    )


def artifact(source: Path, path: str = "/opt/tool", **changes: Any) -> bundle.Bundle:
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    fields: dict[str, Any] = {"name": "tool", "url": source.as_uri(), "sha256": sha256}
    return bundle.Bundle(artifacts=(bundle.Artifact(path=path, **(fields | changes)),))


def module() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("mesh_apply", str(PROGRAM))
    spec = importlib.util.spec_from_loader("mesh_apply", loader)
    assert spec
    made = importlib.util.module_from_spec(spec)
    sys.modules["mesh_apply"] = made  # dataclasses look their module up
    loader.exec_module(made)
    return made


def test_a_bundle_arrives_as_it_was_sent() -> None:
    sent = check("true")
    assert bundle.Bundle.from_json(sent.to_json()) == sent


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "Bundle without artifacts, checks, directories, files, units, users"),
        ('{"files": [{"path": "/a"}]}', "File without content, group, mode, owner"),
    ],
)
def test_a_bundle_that_lacks_something_is_refused(machine: Machine, text: str, reason: str) -> None:
    assert f"step bundle: not a bundle: TypeError {reason}" in machine.refused(text)


def test_a_first_run_writes_everything_and_starts_the_unit(machine: Machine) -> None:
    report = machine.apply(demo())
    assert report["changed"] == ["/var/lib/demo", CONFIG, UNIT]
    assert report["started"] == ["demo.service"]
    assert machine.path(CONFIG).read_text() == "one"
    assert machine.path(CONFIG).stat().st_mode & 0o777 == 0o640
    assert machine.path("/var/lib/demo").stat().st_mode & 0o777 == 0o700
    assert machine.orders() == ["daemon-reload", "enable demo.service", "restart demo.service"]


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.apply(demo())
    machine.orders()
    assert machine.apply(demo()) == EMPTY
    assert machine.orders() == []


def test_a_changed_file_restarts_its_unit_without_a_daemon_reload(machine: Machine) -> None:
    machine.apply(demo())
    machine.orders()
    report = machine.apply(demo("two"))
    assert report == EMPTY | {"changed": [CONFIG], "restarted": ["demo.service"]}
    assert machine.orders() == ["restart demo.service"]


def test_a_changed_file_of_reload_on_reloads_its_unit(machine: Machine) -> None:
    unit = bundle.Unit(name="demo.service", reload_on=(CONFIG,))
    machine.apply(dataclasses.replace(demo(), units=(unit,)))
    report = machine.apply(dataclasses.replace(demo("two"), units=(unit,)))
    assert report == EMPTY | {"changed": [CONFIG], "reloaded": ["demo.service"]}


def test_a_changed_mode_is_put_right(machine: Machine) -> None:
    machine.apply(demo())
    machine.path(CONFIG).chmod(0o666)
    assert machine.apply(demo())["changed"] == [CONFIG]
    assert machine.path(CONFIG).stat().st_mode & 0o777 == 0o640


def test_a_restart_that_failed_is_made_up_for_by_the_next_run(machine: Machine) -> None:
    machine.apply(demo())
    (machine.fake / "broken").touch()
    error = machine.refused(demo("two"))
    assert "step units: systemctl --quiet restart demo.service" in error
    assert "the journal" in error

    (machine.fake / "broken").unlink()
    report = machine.apply(demo("two"))

    assert report == EMPTY | {"restarted": ["demo.service"]}, "it still ran the old configuration"
    assert machine.apply(demo("two")) == EMPTY


def test_a_crash_right_after_a_write_forgets_neither_restart_nor_reload(machine: Machine) -> None:
    machine.apply(demo())
    program = module()
    changed = dataclasses.replace(
        demo("two"), files=(*demo("two").files[:1], bundle.File(path=UNIT, content="[Unit]\n"))
    )
    cut_short = program.Applier(program.parse(changed.to_json()), machine.root, False)
    for file in cut_short.bundle.files:
        cut_short.file(file)
    machine.orders()

    report = machine.apply(changed)

    assert report == EMPTY | {"restarted": ["demo.service"]}
    assert machine.orders() == ["daemon-reload", "restart demo.service"]


def test_a_file_that_left_the_bundle_is_removed_and_no_other(machine: Machine) -> None:
    machine.apply(demo())
    foreign = machine.path("/etc/demo/foreign")
    foreign.write_text("somebody else's")
    report = machine.apply(dataclasses.replace(demo(), files=demo().files[1:]))
    assert report["removed"] == [CONFIG]
    assert not machine.path(CONFIG).exists()
    assert foreign.exists(), "only what an earlier run wrote may go"


def test_a_unit_that_left_the_bundle_is_stopped_before_its_file_goes(machine: Machine) -> None:
    machine.apply(demo())
    machine.orders()
    report = machine.apply(bundle.Bundle())
    assert report["stopped"] == ["demo.service"]
    assert report["removed"] == [CONFIG, UNIT]
    assert machine.orders() == ["disable --now demo.service", "daemon-reload"]


def test_a_unit_that_shall_not_run_is_stopped_once(machine: Machine) -> None:
    machine.apply(demo())
    off = dataclasses.replace(demo(), units=(bundle.Unit(name="demo.service", running=False),))
    assert machine.apply(off)["stopped"] == ["demo.service"]
    assert machine.apply(off) == EMPTY


def test_an_artifact_is_installed_executable_and_fetched_once(
    machine: Machine, tmp_path: Path
) -> None:
    source = tmp_path / "tool"
    source.write_text("#!/bin/sh\n")
    wanted = artifact(source)
    assert machine.apply(wanted)["changed"] == ["/opt/tool"]
    assert os.access(machine.path("/opt/tool"), os.X_OK)
    source.unlink()
    assert machine.apply(wanted) == EMPTY, "what has the right hash is not fetched again"


def test_an_artifact_with_another_hash_is_refused(machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "tool"
    source.write_text("good")
    machine.apply(artifact(source))
    other = tmp_path / "other"
    other.write_text("forged")
    error = machine.refused(artifact(source, url=other.as_uri(), sha256="0" * 64))
    assert f"expected {'0' * 64}" in error
    assert machine.path("/opt/tool").read_text() == "good"
    assert [path.name for path in machine.path("/opt").iterdir()] == ["tool"]


def archive(folder: Path, name: str, *tops: str) -> Path:
    made = folder / f"{name}.tar.gz"
    for top in tops:
        (folder / top).mkdir(exist_ok=True)
        (folder / top / "version").write_text(name)
    with tarfile.open(made, "w:gz") as file:
        for top in tops:
            file.add(folder / top, arcname=top)
    return made


def test_an_archive_is_unpacked_and_replaced_whole(machine: Machine, tmp_path: Path) -> None:
    first = artifact(archive(tmp_path, "v1", "app-1"), unpack=True)
    machine.apply(first)
    assert machine.path("/opt/tool/version").read_text() == "v1"
    assert machine.apply(first) == EMPTY
    machine.apply(artifact(archive(tmp_path, "v2", "app-2"), unpack=True))
    assert machine.path("/opt/tool/version").read_text() == "v2"
    assert [path.name for path in machine.path("/opt").iterdir()] == ["tool"]


def test_an_archive_with_two_top_folders_is_refused(machine: Machine, tmp_path: Path) -> None:
    error = machine.refused(artifact(archive(tmp_path, "two", "a", "b"), unpack=True))
    assert "not one top folder" in error


def test_a_dry_run_tells_and_touches_nothing(machine: Machine) -> None:
    machine.apply(demo())
    machine.orders()
    report = machine.apply(demo("two"), "--dry-run")
    assert report == EMPTY | {"changed": [CONFIG], "restarted": ["demo.service"]}
    assert machine.path(CONFIG).read_text() == "one"
    assert machine.orders() == []
    assert machine.apply(demo()) == EMPTY, "the dry run left a restart behind"


def check(*command: str, seconds: int = 5) -> bundle.Bundle:
    made = bundle.Check(
        what="the demo answers", command=command, within_seconds=seconds, unit="demo.service"
    )
    return dataclasses.replace(demo(), checks=(made,))


def test_a_check_is_tried_until_it_succeeds(machine: Machine, tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/second || {{ touch {tmp_path}/second; false; }}"
    machine.apply(check("sh", "-c", script))


def test_a_check_that_fails_shows_its_last_output_and_the_journal(machine: Machine) -> None:
    error = machine.refused(check("sh", "-c", "echo refused; false", seconds=1))
    assert "the demo answers: not within 1 s; status 1, it said: refused" in error
    assert "the journal --no-pager --lines=20 --unit=demo.service" in error


def test_a_check_ends_as_soon_as_its_unit_has_failed(machine: Machine) -> None:
    (machine.fake / "demo.service.failed").touch()
    assert "its unit failed" in machine.refused(check("false", seconds=60))


def test_a_second_run_waits_for_the_first(machine: Machine) -> None:
    lock = machine.path("/run/mesh-apply.lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held, ThreadPoolExecutor() as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = pool.submit(machine.apply, demo())
        with pytest.raises(TimeoutError):
            second.result(timeout=1)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert second.result()["started"] == ["demo.service"]


def test_no_file_content_is_ever_printed(machine: Machine) -> None:
    done = machine.run(demo("hush-hush"))
    assert "hush-hush" not in done.stdout + done.stderr
    assert "hush-hush" not in machine.refused('{"files": [{"content": "hush-hush"}]}')
    assert "hush-hush" not in machine.refused('{"files": "hush-hush')
