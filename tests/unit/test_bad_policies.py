"""Covers bad policies: by our own rules, by the real Headscale, and before anything is sent."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pulumi
import pytest
import yaml

from components import policy_check
from mesh import artifacts, policy_rules
from mesh.artifacts import Artifact
from mesh.policy_rules import POLICY, TESTS
from mesh.policy_trial import Trial
from tests import bad_policies, stacks
from tests.bad_policies import BadPolicy

USERS = tuple(
    user["name"]
    for user in yaml.safe_load((stacks.REPOSITORY / "policy/users.yaml").read_text())["users"]
)


@pytest.fixture(scope="module")
def headscale() -> Artifact:
    """The program that control hosts run."""
    return artifacts.load(stacks.REPOSITORY / "dist/manifest.json")["headscale"]


def told(texts: dict[str, str]) -> list[str]:
    """What our own rules say, warnings left out."""
    found = policy_rules.faults(texts[POLICY], texts[TESTS], USERS)
    return [str(fault) for fault in found if not fault.warning]


def tried(texts: dict[str, str], headscale: Artifact, cache: Path) -> list[str]:
    """What Headscale says."""
    trial = Trial.read(texts[POLICY], texts[TESTS], USERS)
    return [str(fault) for fault in policy_check.faults(trial, headscale, cache)]


def test_the_committed_policy_has_no_fault_and_no_warning() -> None:
    texts = bad_policies.committed()

    assert policy_rules.faults(texts[POLICY], texts[TESTS], USERS) == []


@pytest.mark.parametrize("bad", bad_policies.STATIC, ids=lambda bad: bad.title)
def test_a_bad_policy_is_refused_with_its_line_and_reason(bad: BadPolicy) -> None:
    lines = told(bad.texts())

    fitting = [line for line in lines if all(words in line for words in bad.says)]
    assert fitting, f"an operator must read {bad.says} in {lines}"
    assert any(line.startswith(bad.place()) for line in fitting), f"{bad.place()} in {fitting}"


@pytest.mark.parametrize("bad", bad_policies.TRIED, ids=lambda bad: bad.title)
def test_headscale_finds_what_our_rules_cannot(
    bad: BadPolicy, headscale: Artifact, tmp_path: Path
) -> None:
    assert told(bad.texts()) == [], "a rule of ours finds it; move the case"

    lines = tried(bad.texts(), headscale, tmp_path)

    fitting = [line for line in lines if all(words in line for words in bad.says)]
    assert any(line.startswith(bad.place()) for line in fitting), f"{bad.place()} in {lines}"


def test_headscale_takes_the_committed_policy_and_all_its_tests(
    headscale: Artifact, tmp_path: Path
) -> None:
    assert tried(bad_policies.committed(), headscale, tmp_path) == []


def test_a_user_who_was_renamed_in_the_users_file_is_told_with_the_new_name() -> None:
    texts = bad_policies.committed()

    found = policy_rules.faults(texts[POLICY], texts[TESTS], [*USERS[:-1], "dba02"])

    assert {"'dba01@' is not in users.yaml; write dba02@"} == {fault.text for fault in found}


def test_all_faults_are_told_at_once() -> None:
    texts = bad_policies.committed()
    texts[POLICY] = texts[POLICY].replace('"qa02@"', '"qa03@"').replace("tag:k8s:*", "tag:k8s:0")

    assert len(told(texts)) == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"src": ["tag:k8s"], "dst": ["tag:k8s:*"]', '"src": ["*"], "dst": ["*:*"]', "* → *:*"),
        ('"group:dba": ["dba01@"]', '"group:dba": []', "group:dba has no member"),
    ],
)
def test_what_is_allowed_but_odd_is_a_warning(old: str, new: str, says: str) -> None:
    texts = bad_policies.committed()
    assert old in texts[POLICY]

    found = policy_rules.faults(texts[POLICY].replace(old, new), texts[TESTS], USERS)

    assert [fault.warning for fault in found] == [True]
    assert says in found[0].text


# The check at the beginning of every run


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the program's own, with a copy of policy/ and an empty cache."""
    shutil.copytree(stacks.REPOSITORY / "policy", tmp_path / "policy")
    (tmp_path / "dist").symlink_to(stacks.REPOSITORY / "dist")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(program: Path, old: str, new: str) -> None:
    """Replaces a text in the policy of a copy."""
    path = program / "policy" / POLICY
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_a_sound_policy_is_tried_once_only(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(policy_check.passed("patched"))

    monkeypatch.setattr(policy_check, "answer", None)
    asyncio.run(policy_check.passed("patched"))


def test_a_refused_policy_is_refused_each_time(program: Path) -> None:
    change(program, '"cache-network-maps"', '"funnel"')

    for _ in range(2):
        with pytest.raises(pulumi.RunError, match=r"policy/policy\.hujson:\d+: Headscale: "):
            asyncio.run(policy_check.passed("patched"))


def test_a_fault_of_form_ends_the_run_in_the_same_way(program: Path) -> None:
    change(program, "tag:k8s:*", "tag:k8s:0")

    with pytest.raises(pulumi.RunError, match=r"policy/policy\.hujson:\d+: '0': port 0"):
        asyncio.run(policy_check.passed("patched"))


def test_settings_for_headscale_in_the_environment_do_not_reach_the_trial(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSCALE_DATABASE_TYPE", "postgres")

    asyncio.run(policy_check.passed("patched"))


def test_a_program_that_does_not_run_is_said_so(
    program: Path, headscale: Artifact, tmp_path: Path
) -> None:
    texts = bad_policies.committed()
    broken = Artifact(name="headscale", version="0", sha256="0", path=tmp_path / "missing")

    with pytest.raises(policy_check.PolicyCheckError, match="missing did not run"):
        tried(texts, broken, tmp_path)
