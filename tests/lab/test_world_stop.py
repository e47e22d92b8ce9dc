"""A second world beside the session's: side by side, and gone without a trace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.world import cleanup
from lab.world.host import HostSpec
from lab.world.state import State
from lab.world.world import World
from tests.lab.pair import TwoHosts

_THINGS = (
    ["ip", "netns", "list"],
    ["losetup", "--list", "--noheadings", "--output=BACK-FILE"],
    ["findmnt", "--list", "--noheadings", "--output=TARGET"],
    ["find", "/sys/fs/cgroup", "/run/systemd/nspawn", "-name", "lab-*"],
)
_OWN = (["nft", "list", "ruleset"], ["ip", "-brief", "address"], ["ip", "route"])


def said(commands: tuple[list[str], ...]) -> list[str]:
    """The lines that these commands print."""
    ended = [subprocess.run(c, capture_output=True, text=True, check=False) for c in commands]
    return [line for process in ended for line in process.stdout.splitlines()]


def mentions(words: tuple[str, ...]) -> list[str]:
    """The command lines of processes in which one of the words occurs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += [line for word in words if word in line]
    return found


def test_two_worlds_run_side_by_side_and_one_goes_without_a_trace(
    two_hosts: TwoHosts, tmp_path: Path
) -> None:
    before = said(_OWN)
    world = World.start(tmp_path / "second")
    world.add_host(HostSpec(name="front"), public=True)
    words = (str(tmp_path), world.state.prefix)
    there = [line for line in said(_THINGS) if any(word in line for word in words)]
    assert len(there) >= 5, "namespaces, mounts and groups must show here, or nothing is proved"

    world.stop()

    left = [line for line in said(_THINGS) if any(word in line for word in words)]
    assert (left, mentions(words)) == ([], [])
    assert said(_OWN) == before, "the machine's own network must stay as it was"
    assert not world.state.root.exists()
    assert two_hosts.front.exec(["true"]).status == 0, "the other world must not notice"


def test_stopping_works_after_the_supervisor_was_killed(tmp_path: Path) -> None:
    world = World.start(tmp_path / "crashed")
    host = world.add_host(HostSpec(name="orphan"))
    leader = host.leader()
    assert leader is not None
    (host.folder / "runner.json").unlink()  # as if the crash had come before it was written
    subprocess.run(["kill", "-KILL", str(_parent(leader))], check=True)

    world.stop()

    assert cleanup.leftovers(State(tmp_path / "crashed")) == []


def test_starting_removes_what_an_earlier_run_left(tmp_path: Path) -> None:
    first = World.start(tmp_path / "again")
    first.add_host(HostSpec(name="old"))

    second = World.start(tmp_path / "again")
    names = [host.name for host in second.hosts()]
    second.stop()

    assert names == []


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
