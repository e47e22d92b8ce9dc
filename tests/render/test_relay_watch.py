"""Every file by which relays are watched, as their functions give them; units are checked with
all others in test_roles.py. Regenerate: pytest tests/render/test_relay_watch.py --snapshot-update.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from syrupy.assertion import SnapshotAssertion

from mesh.bundle import Bundle
from mesh.roles import relay_watch
from tests import bundles, stacks
from tests.render.test_roles import TextFile, listing

COMMAND: Final = stacks.REPOSITORY / "roles/ops/usr/local/sbin/mesh-relays"


def ops() -> Bundle:
    return relay_watch.ops_part(
        stacks.load("prod"),
        stacks.build("prod"),
        bundles.RELAYS,
        bundles.MESH_KEY,
        bundles.ARTIFACTS,
    )


def control() -> Bundle:
    return relay_watch.control_part(stacks.load("prod"), stacks.build("prod"), bundles.RELAYS)


@pytest.mark.parametrize("part", [ops, control], ids=["ops", "control"])
def test_the_host_gets_exactly_these_files(
    part: Callable[[], Bundle], snapshot: SnapshotAssertion
) -> None:
    assert listing(part()) == snapshot(extension_class=TextFile, name=part.__name__)


@pytest.mark.parametrize(
    ("part", "modules"),
    [(ops, "relays.watch, relays.command"), (control, "relays.map")],
    ids=["ops", "control"],
)
def test_the_programs_find_all_that_they_import_on_the_host(
    part: Callable[[], Bundle], modules: str, tmp_path: Path
) -> None:
    library = "/usr/local/lib/mesh/"
    others = bundles.build("prod", "ops-1" if part is ops else "hs-1")
    for file in (*others.files, *part().files):
        if file.path.startswith(library):
            place = tmp_path / file.path.removeprefix(library)
            place.parent.mkdir(exist_ok=True)
            place.write_text(file.content)

    imported = subprocess.run(
        [sys.executable, "-c", f"import {modules}, guard; print(guard.__file__)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert imported.stdout.startswith(str(tmp_path)), imported.stderr


def test_the_command_is_sound_shell() -> None:
    checked = subprocess.run(
        ["sh", "-n", str(COMMAND)], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
