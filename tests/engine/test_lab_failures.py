"""Faults on the real engine: what fails, what stays, and how the next run goes on.

Also secrets the engine is never told, imports, and plugins that must not outlive pulumi.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import engine
from tests.processes import Process, running, wait_for_end, wait_for_ends

Run = Callable[..., engine.Result]
Make = Callable[[str], engine.Engine]

VPC = "tencentcloud:Vpc/instance:Instance"
TWO_NETWORKS = """
    import pulumi
    import tencentcloud_iac_pulumi as tencent
    at = pulumi.ResourceOptions(provider=tencent.Provider("p", region="ap-shanghai"))
    one = tencent.vpc.Instance("one", cidr_block="10.1.0.0/16", opts=at)
    two = tencent.vpc.Instance("two", cidr_block="10.2.0.0/16",
        tags={"first": one.id}, opts=at)
    pulumi.export("two", two.id)
"""


def test_an_armed_fault_fails_once_and_the_next_up_goes_on(lab_program: Make, pulumi: Run) -> None:
    lab = lab_program(TWO_NETWORKS)
    lab.store.arm(VPC, "two", "create", "LimitExceeded: no more networks")

    failed = pulumi(lab, "up")
    after_failure = [r.name for r in lab.store.all("tencentcloud")]
    pulumi(lab, "up").check()

    assert failed.returncode != 0
    assert f"{VPC} 'two': LimitExceeded: no more networks" in failed.stdout
    assert after_failure == ["one"]
    assert [r.name for r in lab.store.all("tencentcloud")] == ["one", "two"]


def test_a_half_made_resource_keeps_its_id_and_is_finished_by_the_next_up(
    lab_program: Make, pulumi: Run
) -> None:
    lab = lab_program(TWO_NETWORKS)
    lab.store.arm(VPC, "one", "create", "the network did not start", partial=True)

    failed = pulumi(lab, "up")
    (half,) = lab.store.all("tencentcloud", VPC)
    is_ready = lab.store.is_ready(half)
    pulumi(lab, "up").check()

    assert failed.returncode != 0
    assert "the network did not start" in failed.stdout
    assert not is_ready
    assert half.id in [r.id for r in lab.store.all("tencentcloud", VPC)], "it is not made twice"
    assert lab.store.is_ready(half)
    assert [call.urn.split("::")[-1] for call in lab.store.calls("update")] == ["one"]


def test_a_network_made_elsewhere_can_be_imported(lab_program: Make, pulumi: Run) -> None:
    lab = lab_program(TWO_NETWORKS)
    pulumi(lab, "up").check()
    (one, _) = lab.store.all("tencentcloud", VPC)
    lab.run("state", "delete", "--stack", "dev", "--yes", "--target-dependents", _urn("one"))
    provider = next(
        r["urn"] + "::" + r["id"]
        for r in lab.export("dev")["deployment"]["resources"]
        if r["type"] == "pulumi:providers:tencentcloud" and r["urn"].endswith("::p")
    )

    imported = lab.run(
        "import", VPC, "one", one.id, "--stack", "dev", "--yes", "--protect=false",
        "--provider", f"p={provider.rpartition('::')[0]}", "--generate-code=false", timeout=60,
    )  # fmt: skip

    assert imported.returncode == 0, imported.stdout + imported.stderr
    pulumi(lab, "up", "--target", _urn("one"), "--expect-no-changes").check()


def _urn(name: str) -> str:
    return f"urn:pulumi:dev::trial::{VPC}::{name}"


def test_a_wrong_input_stops_the_preview_and_names_the_property(
    lab_program: Make, pulumi: Run
) -> None:
    lab = lab_program(TWO_NETWORKS.replace("10.2.0.0/16", "10.2.0.0/33"))

    preview = pulumi(lab, "preview")

    assert preview.returncode != 0
    assert "cidrBlock is not a valid CIDR block" in preview.stdout


def test_a_provider_without_a_region_says_how_to_set_one(lab_program: Make, pulumi: Run) -> None:
    lab = lab_program(TWO_NETWORKS.replace('region="ap-shanghai"', ""))

    preview = pulumi(lab, "preview")

    assert preview.returncode != 0
    assert "region is required" in preview.stdout
    assert "pulumi config set tencentcloud:region" in preview.stdout


def test_values_of_random_tls_and_command_are_kept_and_secret(
    lab_program: Make, pulumi: Run
) -> None:
    lab = lab_program("""
        import pulumi, pulumi_command as command, pulumi_random as random, pulumi_tls as tls
        word = random.RandomPassword("word", length=32)
        key = tls.PrivateKey("key", algorithm="ED25519")
        cert = tls.SelfSignedCert("cert", private_key_pem=key.private_key_pem,
            allowed_uses=["server_auth"], validity_period_hours=24)
        told = command.local.Command("told", create="cat", stdin=word.result)
        pulumi.export("word", word.result)
        pulumi.export("told", told.stdout)
        pulumi.export("cert", cert.cert_pem)
    """)
    pulumi(lab, "up").check()
    first = lab.stack_outputs("dev", show_secrets=True)

    pulumi(lab, "up", "--expect-no-changes").check()
    pulumi(lab, "refresh", "--expect-no-changes").check()

    assert lab.stack_outputs("dev", show_secrets=True) == first
    assert first["told"] == first["word"]
    assert lab.stack_outputs("dev")["told"] == "[secret]", "it came from a secret input"
    assert first["word"] not in str(lab.export("dev"))
    pulumi(lab, "destroy").check()


def test_the_program_stays_as_it_is(lab_program: Make, pulumi: Run) -> None:
    lab = lab_program("import pulumi\npulumi.export('x', pulumi.Config().get('x'))\n")
    settings = lab.program / "Pulumi.yaml"
    settings.write_text(settings.read_text() + "stackConfigDir: stacks\n")
    stack_file = lab.program / "stacks" / "Pulumi.dev.yaml"
    stack_file.parent.mkdir()
    stack_file.write_text("encryptionsalt: v1:theirs\nconfig:\n  trial:x: one\n")
    before = {path: path.stat().st_mtime_ns for path in lab.program.rglob("*")}

    lab.run("config", "set", "--secret", "word", "w", "--stack", "dev").check()
    pulumi(lab, "up").check()
    outputs = lab.stack_outputs("dev")
    stack_file.write_text("config:\n  trial:x: two\n")
    pulumi(lab, "up").check()

    assert outputs == {"x": "one"}
    assert lab.stack_outputs("dev") == {"x": "two"}, "a changed stack file is taken over"
    after = {p: p.stat().st_mtime_ns for p in lab.program.rglob("*") if "__pycache__" not in str(p)}
    assert after.keys() == before.keys()
    assert {p for p in after if after[p] != before[p]} == {stack_file}


def test_a_run_that_takes_too_long_is_ended_with_its_plugins(
    lab_program: Make, pulumi: Run
) -> None:
    lab = lab_program("""
        import pulumi_command as command
        command.local.Command("slow", create="sleep 300")
    """)

    with pytest.raises(engine.EngineError, match="took over 5 s"):
        lab.run("up", "--yes", "--skip-preview", "--stack", "dev", timeout=5)

    wait_for_ends(lambda: _plugins_of(lab), within=10)


def _plugins_of(lab: engine.Engine) -> list[Process]:
    return [process for process in running() if str(lab.state / "pulumi-home") in process.command]


def test_a_plugin_prints_its_port_at_once_and_ends_with_its_parent(
    lab_program: Make, tmp_path: Path
) -> None:
    lab = lab_program("")
    plugin = next((lab.state / "pulumi-home").rglob("pulumi-resource-aws"))
    start = time.monotonic()
    parent = subprocess.Popen(
        ["/bin/sh", "-c", f"{plugin} & echo $!; wait"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "LAB_STATE": str(tmp_path)},
    )
    assert parent.stdout is not None
    child, port = int(parent.stdout.readline()), int(parent.stdout.readline())
    elapsed = time.monotonic() - start

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    assert port > 1024
    assert elapsed < 2, "each provider resource starts one"
    wait_for_end(child, within=10)
