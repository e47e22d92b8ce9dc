"""Providers and their image queries: what is found, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab import cloud
from lab.resource import CloudError
from lab.store import Store
from tests.engine.lab_region import Region


@pytest.mark.parametrize("region", ["", "ap-east-9"], ids=["no region", "an unknown region"])
@pytest.mark.parametrize("name", ["alicloud", "tencentcloud", "aws"])
def test_a_provider_needs_a_region_of_its_cloud(name: str, region: str, tmp_path: Path) -> None:
    handler = cloud.handler(name, tmp_path, Store(tmp_path))

    problems = handler.check_config({"region": region} if region else {})

    assert [problem.property for problem in problems] == ["region"]


def test_every_cloud_finds_the_three_images_by_its_own_names(tmp_path: Path) -> None:
    aws = Region("aws", "ap-east-1", tmp_path)
    alicloud = Region("alicloud", "cn-beijing", tmp_path)
    tencent = Region("tencentcloud", "ap-shanghai", tmp_path)
    for pattern in ("debian-12", "ubuntu-jammy-22.04", "Rocky-9"):
        found = aws.handler.invoke("aws:ec2/getAmi:getAmi", {"nameRegex": pattern})
        assert found["id"].startswith("ami-0")
    for pattern in ("^debian_12", "^ubuntu_22_04", "^rockylinux_9"):
        found = alicloud.handler.invoke("alicloud:ecs/getImages:getImages", {"nameRegex": pattern})
        assert len(found["ids"]) == 1
    for pattern in ("^Debian 12", "^Ubuntu Server 22.04", "^Rocky Linux 9"):
        token = "tencentcloud:Images/getInstance:getInstance"
        assert len(tencent.handler.invoke(token, {"imageNameRegex": pattern})["images"]) == 1


@pytest.mark.parametrize(
    ("args", "property"),
    [
        ({}, "owners"),
        ({"owners": ["self"]}, "filters"),
        (
            {"owners": ["136693071363"], "filters": [{"name": "nom", "values": ["x"]}]},
            "filters[0].name",
        ),
        ({"filters": [{"name": "architecture", "values": ["x86_64"]}]}, "mostRecent"),
        ({"nameRegex": "("}, "nameRegex"),
        ({"owner": ["self"]}, "owner"),
    ],
    ids=["no criteria", "no match", "unknown filter", "several", "bad pattern", "misspelt"],
)
def test_an_image_query_is_refused(tmp_path: Path, args: dict[str, Any], property: str) -> None:
    aws = Region("aws", "ap-east-1", tmp_path)

    with pytest.raises(CloudError) as refused:
        aws.handler.invoke("aws:ec2/getAmi:getAmi", args)

    assert refused.value.property == property
