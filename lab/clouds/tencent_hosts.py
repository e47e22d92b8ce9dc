"""CVM hosts of Tencent Cloud: instances and their addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.clouds import common, images, network
from lab.clouds import tencent_names as names
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, from_inputs, prefixed, random_word

_DISKS: Final = (
    "CLOUD_BASIC",
    "CLOUD_PREMIUM",
    "CLOUD_SSD",
    "CLOUD_HSSD",
    "CLOUD_BSSD",
    "CLOUD_TSSD",
    "LOCAL_BASIC",
    "LOCAL_SSD",
)


def _image_exists(request: Request) -> Iterator[CloudError]:
    id = str(request.inputs.get("imageId"))
    if images.find("tencentcloud", request.region, id) is None:
        text = f"the image {id!r} does not exist in {request.region}"
        yield CloudError("InvalidImageId.NotFound", text, "imageId")


def _instance_outputs(request: Request, id: str) -> Mapping[str, Any]:
    private = network.assign(request, "privateIp", "subnetId", names.RESERVED)
    wants = request.inputs.get("allocatePublicIp") in (True, "true")
    image = images.find("tencentcloud", request.region, str(request.inputs.get("imageId")))
    return {
        "privateIp": private,
        "publicIp": network.public_address(request, names.FIRST_PUBLIC) if wants else "",
        "instanceStatus": "RUNNING",
        "osName": image.title if image else "",
        "instanceName": request.inputs.get("instanceName") or "Terraform-CVM-Instance",
    }


def _eip_outputs(request: Request, id: str) -> Mapping[str, Any]:
    address = network.public_address(request, names.FIRST_PUBLIC)
    return {"publicIp": address, "status": "UNBIND"}


def _eip_is_free(request: Request) -> Iterator[CloudError]:
    eip = request.named("eipId")
    for other in request.others():
        if other.inputs.get("eipId") == request.inputs.get("eipId"):
            text = f"the address is with {other.inputs.get('instanceId')} already"
            yield CloudError("InvalidAddressIdStatus.NotPermit", text, "eipId")
    for gateway in request.store.all(request.cloud, names.NAT):
        if eip and eip.outputs["publicIp"] in (gateway.inputs.get("assignedEipSets") or []):
            text = f"the address is with {gateway.id} already"
            yield CloudError("InvalidAddressIdStatus.NotPermit", text, "eipId")


TYPES: Final[Mapping[str, TypeRules]] = {
    names.INSTANCE: TypeRules(
        id=prefixed("ins-", random_word, 8),
        required=("availabilityZone", "imageId", "instanceType", "vpcId", "subnetId"),
        replace=frozenset(
            {
                "availabilityZone",
                "placementGroupId",
                "camRoleName",
                "cdhHostId",
                "dedicatedClusterId",
                "hpcClusterId",
                "launchTemplateId",
            }
        ),
        refs=(
            Ref("vpcId", (names.VPC,)),
            Ref("subnetId", (names.SUBNET,)),
            Ref("orderlySecurityGroups[]", (names.GROUP,)),
            Ref("securityGroups[]", (names.GROUP,)),
            Ref("keyIds[]", (names.KEY_PAIR,)),
            Ref("keyName", (names.KEY_PAIR,)),
        ),
        checks=(
            network.zone("availabilityZone"),
            common.user_data("userData", "base64"),
            common.user_data("userDataRaw", "plain"),
            common.at_most_one("userData", "userDataRaw"),
            common.at_most_one("orderlySecurityGroups", "securityGroups"),
            common.at_most_one("keyIds", "keyName", "password"),
            common.matches("instanceType", r"[A-Z0-9a-z]+\.[A-Z0-9]+", "such as S5.MEDIUM2"),
            network.one_of("systemDiskType", _DISKS),
        ),
        demands=(
            _image_exists,
            network.agrees("vpcId", "subnetId", "vpcId", "InvalidParameterValue.SubnetNotInVpc"),
            network.agrees(
                "availabilityZone", "subnetId", "availabilityZone", "InvalidZone.MismatchRegion"
            ),
            network.free_address("privateIp", "subnetId", names.RESERVED),
        ),
        deletion=(common.protected("disableApiTermination", "OperationDenied.Protected"),),
        outputs=_instance_outputs,
    ),
    names.EIP: TypeRules(
        id=prefixed("eip-", random_word, 8),
        replace=frozenset({"type", "internetServiceProvider", "anycastZone"}),
        checks=(
            network.one_of(
                "internetChargeType",
                (
                    "BANDWIDTH_PACKAGE",
                    "BANDWIDTH_POSTPAID_BY_HOUR",
                    "BANDWIDTH_PREPAID_BY_MONTH",
                    "TRAFFIC_POSTPAID_BY_HOUR",
                ),
            ),
        ),
        outputs=_eip_outputs,
    ),
    names.ASSOCIATION: TypeRules(
        id=from_inputs("{eipId}::{instanceId}::{networkInterfaceId}"),
        required=("instanceId|networkInterfaceId",),
        replace=frozenset({"eipId", "instanceId", "networkInterfaceId", "privateIp"}),
        refs=(
            Ref("eipId", (names.EIP,)),
            Ref("instanceId", (names.INSTANCE,), on_delete="cascade"),
        ),
        demands=(_eip_is_free,),
    ),
    names.DISK: TypeRules(
        id=prefixed("disk-", random_word, 8),
        replace=frozenset({"availabilityZone", "encrypt", "storageType"}),
        checks=(network.zone("availabilityZone"),),
    ),
}
