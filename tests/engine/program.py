"""This repository's program with a stack file of a test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab.engine import Engine
from tests import stacks

PROGRAM = ("Pulumi.yaml", "__main__.py", "components", "mesh", "relays", "guard", "cloud-init",
           "roles", "policy", "clients", "dist", ".venv")  # fmt: skip


def engine_of(folder: Path, changes: dict[str, Any]) -> Engine:
    """The program with stack prod changed as told, in a folder of the test's own."""
    program = folder / "program"
    (program / "stacks").mkdir(parents=True)
    for name in PROGRAM:
        (program / name).symlink_to(stacks.REPOSITORY / name)
    write_stack(program, changes)
    engine = Engine(folder / "state", program)
    engine.ensure_stack("prod")
    return engine


def write_stack(program: Path, changes: dict[str, Any]) -> None:
    """The stack file of prod, changed as told."""
    values = {f"mesh:{key}": value for key, value in stacks.changed("prod", changes).items()}
    (program / "stacks" / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": values}))
