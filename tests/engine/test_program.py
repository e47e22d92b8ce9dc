"""Covers the whole program on the real engine over API-only clouds: what a reviewer sees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab.engine import Engine
from tests.engine.program import engine_of

AWS_HOME: dict[str, Any] = {
    "control.cloud": "aws",
    "control.region": "ap-southeast-1",
    "control.zones": ["ap-southeast-1a", "ap-southeast-1b", "ap-southeast-1c"],
    "relays.2.cloud": "tencentcloud",
    "relays.2.region": "ap-hongkong",
    "relays.2.zone": "ap-hongkong-2",
}


def created(engine: Engine) -> Counter[str]:
    """How many of each type a preview of prod creates."""
    steps = engine.preview_json("prod")["steps"]
    assert {step["op"] for step in steps} == {"create"}
    return Counter(step["newState"]["type"] for step in steps)


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """What a preview of the committed stack prod creates."""
    return created(engine_of(tmp_path_factory.mktemp("prod"), {}))


def test_a_preview_of_prod_shows_every_host_over_three_clouds(prod: Counter[str]) -> None:
    assert prod["alicloud:ecs/instance:Instance"] == 6, "five of the control plane, one relay"
    assert prod["tencentcloud:Instance/instance:Instance"] == 1
    assert prod["aws:ec2/instance:Instance"] == 2


def test_a_preview_of_prod_shows_every_public_name(prod: Counter[str]) -> None:
    assert prod["alicloud:dns/alidnsRecord:AlidnsRecord"] == 6, "hs twice, four relays"


def test_a_preview_of_prod_shows_each_step_on_each_host(prod: Counter[str]) -> None:
    boots, bundles, others = 9, 9, 3  # others: the database, the registry on both control hosts

    assert prod["command:remote:Command"] == boots + bundles + others


def test_the_control_plane_moves_to_aws_and_a_relay_to_tencent_by_the_stack_file_alone(
    tmp_path: Path,
) -> None:
    moved = created(engine_of(tmp_path, AWS_HOME))

    assert moved["aws:ec2/instance:Instance"] == 6, "five of the control plane, Singapore"
    assert moved["tencentcloud:Instance/instance:Instance"] == 2, "Shanghai and Hong Kong"
    assert moved["alicloud:ecs/instance:Instance"] == 1, "Beijing"
