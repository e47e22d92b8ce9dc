"""Covers the alerting rules: what promtool says of them, and that they read what hosts write."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests import needs, stacks

MONITORING: Final = stacks.REPOSITORY / "monitoring"
RULES: Final = sorted((MONITORING / "rules").glob("*.yaml"))
CASES: Final = sorted((MONITORING / "tests").glob("*.yaml"))


def promtool(*words: str) -> None:
    """promtool must agree."""
    needs.programs("promtool")
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def alerts(file: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(file.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_file_of_rules_has_its_cases() -> None:
    assert RULES
    assert [file.name for file in CASES] == [file.name for file in RULES]


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_prometheus_accepts_the_rules(file: Path) -> None:
    promtool("check", "rules", str(file))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_alerts_come_and_go_when_they_should(file: Path) -> None:
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_every_alert_is_in_its_cases_and_leads_to_a_runbook(file: Path) -> None:
    tried = yaml.safe_load((MONITORING / "tests" / file.name).read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tried
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }

    for alert in alerts(file):
        assert alert["alert"] in fired
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert (stacks.REPOSITORY / alert["annotations"]["runbook"]).is_file()


def test_the_rules_of_certificates_read_what_hosts_write(tmp_path: Path) -> None:
    script = runpy.run_path(str(stacks.REPOSITORY / "roles/common/usr/local/sbin/mesh-certificate"))
    script["report"].__globals__["METRICS"] = tmp_path / "certificate.prom"
    script["report"](1_800_000_000.0)

    written = (tmp_path / "certificate.prom").read_text().splitlines()[-1].split()[0]

    read = {
        name
        for alert in alerts(MONITORING / "rules/certificates.yaml")
        for name in re.findall(r"\bmesh_\w+", alert["expr"])
    }
    assert read == {written}
