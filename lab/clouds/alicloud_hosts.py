"""ECS hosts of Alibaba Cloud: instances, their addresses and disks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import alicloud_ipv6, common, images, network
from lab.clouds import alicloud_names as names
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, from_inputs, prefixed, random_hex, random_word

_DISKS: Final = (
    "cloud",
    "cloud_efficiency",
    "cloud_ssd",
    "cloud_essd",
    "cloud_auto",
    "cloud_essd_entry",
    "ephemeral_ssd",
)
_SMALLEST_DISK: Final = 20  # GiB: the images' own size


def _image_exists(request: Request) -> Iterator[CloudError]:
    id = str(request.inputs.get("imageId"))
    if images.find("alicloud", request.region, id) is None:
        text = f"the image {id!r} does not exist in {request.region}"
        yield CloudError("InvalidImageId.NotFound", text, "imageId")


def _disk_size(request: Request) -> Iterator[Problem]:
    found = request.known("systemDiskSize")
    if found is not None and int(found) < _SMALLEST_DISK:
        text = f"{found} GiB is below the image's size of {_SMALLEST_DISK} GiB"
        yield Problem("systemDiskSize", text)


def _disk_does_not_shrink(request: Request) -> Iterator[CloudError]:
    before = request.store.get(request.cloud, request.type, request.id) if request.id else None
    old = before.outputs.get("systemDiskSize") if before else None
    new = request.inputs.get("systemDiskSize")
    if old is not None and new is not None and int(new) < int(old):
        text = f"a disk cannot shrink from {old} to {new} GiB"
        yield CloudError("InvalidSystemDiskSize.LessThanOld", text, "systemDiskSize")


def _instance_outputs(request: Request, id: str) -> Mapping[str, Any]:
    switch = request.named("vswitchId")
    private = network.assign(request, "privateIp", "vswitchId", names.RESERVED)
    wants = int(request.inputs.get("internetMaxBandwidthOut") or 0) > 0
    image = images.find("alicloud", request.region, str(request.inputs.get("imageId")))
    return {
        "availabilityZone": switch.outputs.get("zoneId") if switch else None,
        "vpcId": switch.inputs.get("vpcId") if switch else None,
        "privateIp": private,
        "primaryIpAddress": private,
        "publicIp": network.public_address(request, names.FIRST_PUBLIC) if wants else "",
        "status": "Running",
        "osType": "linux",
        "osName": image.title if image else "",
        "networkInterfaceId": f"eni-{random_word(20)}",
        "instanceName": request.inputs.get("instanceName") or "ECS-Instance",
        "systemDiskSize": request.inputs.get("systemDiskSize") or 40,
        "ipv6Addresses": alicloud_ipv6.chosen_addresses(request),
    }


def _eip_outputs(request: Request, id: str) -> Mapping[str, Any]:
    wanted = request.inputs.get("ipAddress")
    address = wanted or network.public_address(request, names.FIRST_PUBLIC)
    return {"ipAddress": address, "status": "Available"}


def _eip_is_free(request: Request) -> Iterator[CloudError]:
    for other in request.others():
        if other.inputs["allocationId"] == request.inputs.get("allocationId"):
            text = f"the address is with {other.inputs['instanceId']} already"
            yield CloudError("IncorrectEipStatus", text, "allocationId")


def _one_address(request: Request) -> Iterator[CloudError]:
    """An instance bears one EIP; a NAT gateway may have several."""
    target = request.named("instanceId")
    if target is None or target.type != names.INSTANCE:
        return
    if target.outputs.get("publicIp"):
        text = f"{target.id} has the public address {target.outputs['publicIp']} already"
        yield CloudError("InvalidInstance.PublicIpExists", text, "instanceId")
    for other in request.others():
        if other.inputs["instanceId"] == target.id:
            text = f"{target.id} has {other.inputs['allocationId']} already"
            yield CloudError("InvalidAssociation.Duplicated", text, "instanceId")


TYPES: Final[Mapping[str, TypeRules]] = {
    names.INSTANCE: TypeRules(
        id=prefixed("i-", random_word, 20),
        required=("imageId", "instanceType", "securityGroups", "vswitchId"),
        replace=frozenset(
            {
                "availabilityZone",
                "dataDisks",
                "systemDiskCategory",
                "systemDiskEncrypted",
                "systemDiskKmsKeyId",
                "dedicatedHostId",
                "spotStrategy",
                "networkInterfaces",
            }
        ),
        refs=(
            Ref("vswitchId", (names.SWITCH,)),
            Ref("securityGroups[]", (names.GROUP,)),
            Ref("keyName", (f"{names.KEY_PAIR}#keyPairName",), on_delete="keep"),
        ),
        checks=(
            network.zone("availabilityZone"),
            common.user_data("userData", "either"),
            common.at_most_one("ipv6Addresses", "ipv6AddressCount"),
            common.matches("instanceType", r"ecs\.[a-z0-9-]+\.[a-z0-9.]+", "like ecs.g7.large"),
            network.one_of("systemDiskCategory", _DISKS),
            _disk_size,
        ),
        demands=(
            _image_exists,
            network.same_network("securityGroups", "vswitchId", "InvalidSecurityGroup.VpcMismatch"),
            network.free_address("privateIp", "vswitchId", names.RESERVED),
            alicloud_ipv6.instance_addresses,
            network.agrees(
                "availabilityZone", "vswitchId", "zoneId", "InvalidZoneId.VSwitchMismatch"
            ),
            _disk_does_not_shrink,
        ),
        deletion=(common.protected("deletionProtection", "InvalidOperation.DeletionProtection"),),
        outputs=_instance_outputs,
    ),
    names.EIP: TypeRules(
        id=prefixed("eip-", random_word, 20),
        replace=frozenset({"isp", "instanceChargeType", "internetChargeType", "zone"}),
        checks=(
            common.matches("bandwidth", r"[1-9]\d{0,3}", "a number of Mbit/s"),
            network.one_of("internetChargeType", ("PayByBandwidth", "PayByTraffic")),
        ),
        deletion=(common.protected("deletionProtection", "OperationDenied.Protection"),),
        outputs=_eip_outputs,
    ),
    names.ASSOCIATION: TypeRules(
        id=from_inputs("{allocationId}:{instanceId}"),
        replace=frozenset({"allocationId", "instanceId", "instanceType", "privateIpAddress"}),
        refs=(
            Ref("allocationId", (names.EIP,)),
            Ref("instanceId", (names.INSTANCE, names.NAT), on_delete="cascade"),
        ),
        demands=(_eip_is_free, _one_address),
    ),
    names.DISK: TypeRules(
        id=prefixed("d-", random_word, 20),
        required=("size|snapshotId", "zoneId|availabilityZone|instanceId"),
        replace=frozenset({"zoneId", "availabilityZone", "encrypted", "kmsKeyId", "snapshotId"}),
        checks=(network.zone("zoneId"), network.zone("availabilityZone")),
        outputs=lambda _request, _id: {"status": "Available", "createTime": "2026-01-01T00:00Z"},
    ),
    "alicloud:ecs/ecsDiskAttachment:EcsDiskAttachment": TypeRules(
        id=from_inputs("{diskId}:{instanceId}"),
        replace=frozenset({"diskId", "instanceId"}),
        refs=(
            Ref("diskId", (names.DISK,)),
            Ref("instanceId", (names.INSTANCE,), on_delete="cascade"),
        ),
        outputs=lambda _request, _id: {"device": f"/dev/xvd{random_hex(1)}"},
    ),
}
