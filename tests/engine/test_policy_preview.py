"""Covers what a reviewer of a policy's change sees: the real engine, a real preview."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lab.engine import Engine
from mesh import access, hujson
from tests import bad_policies, stacks
from tests.engine.program import engine_of

_STACK = "urn:pulumi:prod::mesh::pulumi:pulumi:Stack::mesh-prod"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Stack prod, with a policy/ of the test's own, as if the committed policy were in force."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = engine_of(tmp_path, {})
    (made.program / "policy").unlink()
    shutil.copytree(stacks.REPOSITORY / "policy", made.program / "policy")
    state = tmp_path / "in-force.json"
    state.write_text(json.dumps(_in_force()))
    made.run("stack", "import", "--stack", "prod", "--file", str(state)).check()
    return made


def _in_force() -> dict[str, object]:
    """The state after an `up`, as far as outputs go."""
    committed = hujson.parse(bad_policies.committed()["policy.hujson"]).value
    stack = {
        "urn": _STACK,
        "custom": False,
        "type": "pulumi:pulumi:Stack",
        "outputs": {"access": access.reach(access.Policy(committed))},
    }
    manifest = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}
    return {"version": 3, "deployment": {"manifest": manifest, "resources": [stack]}}


def change(engine: Engine, file: str, old: str, new: str) -> None:
    """Replaces a text in a file under policy/."""
    path = engine.program / "policy" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def marked_lines(shown: str) -> list[str]:
    """The lines of the output "access" that a preview marks as changed, opened or closed."""
    block = shown[shown.index("  ~ access") :]
    block = block[: block.index("\n    }\n")]
    return [line for line in block.splitlines() if line.lstrip()[0] in "~+-"]


def test_a_preview_shows_what_a_change_opens_and_closes(engine: Engine) -> None:
    change(engine, "policy.hujson", "tag:db:3306,5432,6379,27017", "tag:db:3306,5432,6379,9200")
    change(engine, "tests.hujson", '"tag:db:27017"', '"tag:db:9200"')

    shown = engine.run("preview", "--stack", "prod", timeout=120).check().stdout

    told = '"tcp+udp 3306,5432,6379,27017" => "tcp+udp 3306,5432,6379,9200"'
    assert shown.count(told) == 2, f"for the group and its only member:\n{shown}"
    for line, name in zip(
        marked_lines(shown), ("access", "dba01@", "tag:db", "group:dba", "tag:db"), strict=True
    ):
        assert line.startswith(name, line.index("~ ") + 2), "nothing else is marked"


def test_a_policy_that_headscale_refuses_ends_the_preview_before_anything_is_sent(
    engine: Engine,
) -> None:
    change(engine, "policy.hujson", '"dst": ["tag:dev:*"]', '"dst": ["tag:dev:*", "tag:prod:443"]')
    change(engine, "tests.hujson", '"deny": ["tag:staging:22",', '"deny": ["tag:prod:443",')

    preview = engine.run("preview", "--stack", "prod", timeout=120)

    said = preview.stdout + preview.stderr
    assert preview.returncode != 0
    assert "policy/tests.hujson:" in said
    assert "dev03@ -> tag:prod:443: expected DENIED, got ALLOWED" in said
    assert "Traceback" not in said, "a wrong policy is no bug of the program"
    assert "PrivateKey" not in said, "nothing was declared"


def test_a_preview_warns_of_a_policy_that_the_hosts_do_not_carry_and_names_the_rule(
    engine: Engine,
) -> None:
    rule = '{"action": "accept", "src": ["*"], "dst": ["*:9"]},'
    change(engine, "policy.hujson", '"acls": [', f'"acls": [{rule}')

    preview = engine.run("preview", "--stack", "prod", timeout=120).check()

    text = (engine.program / "policy/policy.hujson").read_text()
    line = text[: text.index(rule)].count("\n") + 1
    told = " ".join((preview.stdout + preview.stderr).split())
    assert f"policy/policy.hujson:{line} costs most: it opens 993,012 (100 %)" in told
    assert 'prod-web : "996"' in told, "each node sees all others"
