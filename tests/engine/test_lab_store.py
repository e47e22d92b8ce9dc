"""The clouds' books: secrets, drift, several processes at once, and what effects are told."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import cloud, provider, wire
from lab.clouds import tencentcloud
from lab.provider import Target
from lab.resource import CloudError, Hidden, Resource
from lab.store import Store
from tests.engine.lab_region import Region

VPC = "tencentcloud:Vpc/instance:Instance"
SUBNET = "tencentcloud:Subnet/instance:Instance"
TARGET = Target(f"urn:pulumi:dev::trial::{VPC}::net", seed=b"seed")


def bring_up(handler: cloud.Cloud, **inputs: Any) -> tuple[str, dict[str, Any]]:
    settled, problems = handler.check(TARGET, {}, {"cidrBlock": "10.0.0.0/16", **inputs})
    assert not problems
    return handler.create(TARGET, settled, partial=None)


@pytest.fixture
def tencent(tmp_path: Path) -> cloud.Cloud:
    handler = cloud.handler("tencentcloud", tmp_path, Store(tmp_path))
    handler.configure({"region": "ap-shanghai"})
    return handler


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    store = Store(tmp_path)

    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_secret_is_kept_as_a_salted_digest(tencent: cloud.Cloud, tmp_path: Path) -> None:
    id, _ = bring_up(tencent, tags={"word": wire.Secret("open sesame")})

    kept = Store(tmp_path).get("tencentcloud", VPC, id)
    dump = "\n".join(sqlite3.connect(tmp_path / "clouds.db").iterdump())

    assert kept is not None
    assert isinstance(kept.inputs["tags"]["word"], Hidden)
    assert "open sesame" not in dump


def test_salts_differ_between_labs(tmp_path: Path) -> None:
    digests = {
        Store(tmp_path / name).hidden(wire.Secret("open sesame")).digest for name in ("a", "b")
    }

    assert len(digests) == 2


def test_reading_gives_the_engine_its_own_secret_back_unless_it_was_changed(
    tencent: cloud.Cloud, tmp_path: Path
) -> None:
    secret = wire.Secret("open sesame")
    id, outputs = bring_up(tencent, tags={"word": secret})
    inputs = {"cidrBlock": "10.0.0.0/16", "tags": {"word": secret}}

    unchanged = tencent.read(TARGET, id, inputs, outputs)
    Store(tmp_path).tamper("tencentcloud", id, tags={"word": "changed"})
    changed = tencent.read(TARGET, id, inputs, outputs)

    assert unchanged is not None
    assert unchanged[0] == inputs
    assert changed is not None
    assert changed[0]["tags"]["word"] == wire.Secret("changed")


def test_an_import_brings_all_but_secrets(tencent: cloud.Cloud) -> None:
    id, _ = bring_up(tencent, tags={"word": wire.Secret("x"), "color": "red"})

    found = tencent.read(TARGET, id, {}, {})

    assert found is not None
    assert found[0]["cidrBlock"] == "10.0.0.0/16"
    assert found[0]["tags"]["color"] == "red"


def test_what_was_deleted_elsewhere_reads_as_gone_and_deletes_well(
    tencent: cloud.Cloud, tmp_path: Path
) -> None:
    id, outputs = bring_up(tencent)
    resource = Store(tmp_path).get("tencentcloud", VPC, id)
    assert resource is not None
    Store(tmp_path).forget(resource)

    assert tencent.read(TARGET, id, {}, outputs) is None
    tencent.delete(TARGET, id, outputs)
    with pytest.raises(CloudError, match="pulumi refresh"):
        tencent.update(TARGET, id, outputs, {"cidrBlock": "10.0.0.0/16"})


def test_many_hosts_at_once_get_addresses_of_their_own(tmp_path: Path) -> None:
    region = Region("tencentcloud", "ap-shanghai", tmp_path)
    vpc = region.make(VPC, "net", cidrBlock="10.0.0.0/16")
    zone = "ap-shanghai-2"
    subnet = region.make(SUBNET, "sub", vpcId=vpc, cidrBlock="10.0.0.0/24", availabilityZone=zone)
    instance = "tencentcloud:Instance/instance:Instance"

    def start(number: int) -> str:
        # A store of its own, as each plugin process has.
        mine = Region("tencentcloud", "ap-shanghai", tmp_path)
        id = mine.make(
            instance,
            f"host-{number}",
            imageId="img-7qn3z2ke",
            instanceType="S5.MEDIUM2",
            availabilityZone=zone,
            vpcId=vpc,
            subnetId=subnet,
        )
        return str(mine.output(instance, id, "privateIp"))

    with ThreadPoolExecutor(8) as pool:
        addresses = list(pool.map(start, range(24)))

    assert len(set(addresses)) == 24


# Effects


class Witness:
    """Effects that note their calls and fail when told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Resource]] = []
        self.failure: Exception | None = None

    def _note(self, what: str, resource: Resource) -> None:
        self.calls.append((what, resource))
        if self.failure is not None:
            raise self.failure

    def created(self, resource: Resource) -> Mapping[str, Any]:
        self._note("created", resource)
        return {"defaultRouteTableId": "rtb-real"}

    def updated(self, before: Resource, after: Resource) -> Mapping[str, Any]:
        self._note("updated", after)
        return {}

    def deleted(self, resource: Resource) -> None:
        self._note("deleted", resource)

    def names(self) -> list[str]:
        return [what for what, _ in self.calls]


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def worldly(tmp_path: Path, witness: Witness) -> cloud.Cloud:
    """A cloud whose resources have effects."""
    handler = cloud.Cloud("tencentcloud", tencentcloud.RULES, Store(tmp_path), witness)
    handler.configure({"region": "ap-shanghai"})
    return handler


def test_effects_see_secrets_and_add_outputs(worldly: cloud.Cloud, witness: Witness) -> None:
    _, outputs = bring_up(worldly, tags={"word": wire.Secret("open sesame")})

    assert witness.calls[0][1].inputs["tags"] == {"word": "open sesame"}
    assert outputs["defaultRouteTableId"] == "rtb-real"


def test_a_start_that_failed_is_tried_again_by_the_update(
    worldly: cloud.Cloud, witness: Witness, tmp_path: Path
) -> None:
    witness.failure = CloudError("BootFailed", "no network", details="last line of the log")
    with pytest.raises(provider.InitFailedError, match="last line of the log") as failed:
        bring_up(worldly)
    witness.failure = None

    outputs = worldly.update(TARGET, failed.value.id, failed.value.outputs, failed.value.inputs)

    assert witness.names() == ["created", "created"]
    assert outputs["defaultRouteTableId"] == "rtb-real"
    (resource,) = Store(tmp_path).all()
    assert Store(tmp_path).is_ready(resource)


def test_a_refused_creation_leaves_nothing(
    worldly: cloud.Cloud, witness: Witness, tmp_path: Path
) -> None:
    witness.failure = CloudError("QuotaExceeded", "no more", exists=False)

    with pytest.raises(CloudError, match="QuotaExceeded"):
        bring_up(worldly)

    assert not Store(tmp_path).all()


def test_a_failed_update_changes_nothing(
    worldly: cloud.Cloud, witness: Witness, tmp_path: Path
) -> None:
    id, outputs = bring_up(worldly, tags={"color": "red"})
    witness.failure = CloudError("Busy", "try later")

    with pytest.raises(CloudError, match="Busy"):
        worldly.update(TARGET, id, outputs, {"cidrBlock": "10.0.0.0/16", "tags": {"color": "blue"}})

    (resource,) = Store(tmp_path).all()
    assert resource.inputs["tags"] == {"color": "red"}


def test_a_failed_deletion_keeps_the_resource(
    worldly: cloud.Cloud, witness: Witness, tmp_path: Path
) -> None:
    id, outputs = bring_up(worldly)
    witness.failure = CloudError("Busy", "try later")

    with pytest.raises(CloudError, match="Busy"):
        worldly.delete(TARGET, id, outputs)

    assert [resource.id for resource in Store(tmp_path).all()] == [id]


def test_armed_faults_match_by_pattern_and_run_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.arm("aws:*", "derp-*", "create", "no", times=2)

    assert store.fault("aws:ec2/vpc:Vpc", "hs-1", "create") is None
    assert store.fault("aws:ec2/vpc:Vpc", "derp-1", "update") is None
    assert [store.fault("aws:ec2/vpc:Vpc", "derp-1", "create") is None for _ in range(3)] == [
        False,
        False,
        True,
    ]


def test_the_log_tells_operation_resource_and_time(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with pytest.raises(ValueError, match="inside"), store.timed("create", "urn:x"):
        raise ValueError("inside")

    (call,) = store.calls("create")
    assert (call.op, call.urn, call.preview) == ("create", "urn:x", False)
    assert call.ms >= 0
