"""The policy is checked before the engine is sent anything: by our rules, then by Headscale."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pulumi

from mesh import access, artifacts, policy_rules, policy_trial, registry
from mesh.artifacts import Artifact
from mesh.capacity import Build
from mesh.policy_rules import Fault
from mesh.policy_trial import Trial

_MANIFEST: Final = Path("dist/manifest.json")
_POLICY: Final = Path("policy")
_SECONDS: Final = 60  # a check takes a tenth of one


class PolicyCheckError(Exception):
    """Headscale could not be asked; the message has its own words."""


async def passed(build: Build) -> access.Policy:
    """The policy of policy/. Ends the run, with every fault, unless it is sound, by the word of
    the Headscale that will run.
    """
    try:
        declared = registry.load(_POLICY)
        headscale = artifacts.load(_MANIFEST, build)["headscale"]
        tests = (_POLICY / policy_rules.TESTS).read_text(encoding="utf-8")
        users = [user.name for user in declared.users]
        trial = Trial.read(declared.policy, tests, users)
        refused = await asyncio.to_thread(faults, trial, headscale, cache())
    except (registry.RegistryError, artifacts.ArtifactError, PolicyCheckError) as error:
        raise pulumi.RunError(str(error)) from error
    if refused:
        told = "\n  ".join(f"{_POLICY}/{fault}" for fault in refused)
        raise pulumi.RunError(f"{_POLICY}: Headscale refuses it\n  {told}")
    for warning in policy_rules.faults(declared.policy, tests, users):
        pulumi.log.warn(f"{_POLICY}/{warning}")
    return access.Policy(trial.policy.value)


def cache() -> Path:
    """Where it is remembered which policies passed, beside the built programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesh" / "policies"


def faults(trial: Trial, headscale: Artifact, remembered: Path) -> list[Fault]:
    """What Headscale refuses; nothing is run for a trial that passed before.

    Raises PolicyCheckError.
    """
    mark = remembered / trial.fingerprint(headscale.sha256)
    if mark.exists():
        return []
    if words := answer(trial, headscale):
        return trial.meaning(words)
    with suppress(OSError):  # a cache that cannot be written costs a tenth of a second
        remembered.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return []


def answer(trial: Trial, headscale: Artifact) -> str:
    """What Headscale says against the policy; empty when it takes it.

    Raises PolicyCheckError.
    """
    with tempfile.TemporaryDirectory(prefix="mesh-policy-") as scratch:
        return _ask(trial, headscale.path.absolute(), Path(scratch))


def _ask(trial: Trial, program: Path, scratch: Path) -> str:
    (scratch / "config.yaml").write_text(policy_trial.configuration(str(scratch)))
    (scratch / "empty.json").write_text("{}")
    (scratch / "policy.json").write_text(trial.document, encoding="utf-8")
    made = _check(program, scratch, "empty.json")  # the cheapest command that makes the tables
    if made:
        raise PolicyCheckError(f"{program} could not make its database: {made}")
    with closing(sqlite3.connect(scratch / policy_trial.DATABASE)) as database, database:
        for statement, values in trial.statements():
            database.execute(statement, values)
    return _check(program, scratch, "policy.json")


def _check(program: Path, scratch: Path, policy: str) -> str:
    command = [
        str(program), "policy", "check", "--bypass-grpc-and-access-database-directly",
        "--force", "--config", str(scratch / "config.yaml"), "--file", str(scratch / policy),
    ]  # fmt: skip
    # Headscale takes settings from HEADSCALE_… in the environment; a trial has its own.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HEADSCALE_")}
    try:
        result = subprocess.run(
            command,
            env=clean,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PolicyCheckError(f"{program} did not run: {error}") from error
    if result.returncode == 0:
        return ""
    return result.stderr.strip() or result.stdout.strip() or f"exit status {result.returncode}"
