"""EC2 hosts: instances, their addresses, keys and disks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.clouds import aws_names as names
from lab.clouds import common, images, ipv6, network
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, from_inputs, prefixed, random_hex


def _internet_of(request: Request, vpc: Any, property: str) -> Iterator[CloudError]:
    """A public address works only where the network has an internet gateway."""
    for gateway in request.store.all("aws", names.GATEWAY):
        if gateway.inputs.get("vpcId") == vpc:
            return
    text = f"network {vpc} is not attached to any internet gateway; depend on one"
    yield CloudError("Gateway.NotAttached", text, property)


def _image_exists(request: Request) -> Iterator[CloudError]:
    id = str(request.inputs.get("ami"))
    if images.find("aws", request.region, id) is None:
        text = f"the image {id!r} does not exist in {request.region}"
        yield CloudError("InvalidAMIID.NotFound", text, "ami")


def _instance_outputs(request: Request, id: str) -> Mapping[str, Any]:
    subnet = request.named("subnetId")
    private = network.assign(request, "privateIp", "subnetId", names.RESERVED)
    wants = request.inputs.get("associatePublicIpAddress")
    if wants is None and subnet is not None:
        wants = subnet.inputs.get("mapPublicIpOnLaunch", False)
    public = network.public_address(request, names.FIRST_PUBLIC) if wants else ""
    zone = subnet.outputs.get("availabilityZone") if subnet else None
    return {
        "availabilityZone": zone,
        "instanceState": "running",
        "privateIp": private,
        "privateDns": f"ip-{private.replace('.', '-')}.{request.region}.compute.internal",
        "publicIp": public,
        "publicDns": "",
        "primaryNetworkInterfaceId": f"eni-0{random_hex(16)}",
        **_ipv6_outputs(request, id),
    }


def _ipv6_addresses(request: Request) -> Iterator[CloudError]:
    subnet = request.named("subnetId")
    if subnet is not None:
        own = subnet.outputs.get("ipv6CidrBlock")
        yield from ipv6.addresses_fit(request, own, names.INSTANCE)
        if request.inputs.get("ipv6AddressCount") and not own:
            text = "the subnet has no IPv6 range"
            yield CloudError("InvalidParameterValue", text, "ipv6AddressCount")


def _ipv6_outputs(request: Request, id: str) -> Mapping[str, Any]:
    """As many addresses as were asked for, unless they were named."""
    subnet, count = request.named("subnetId"), int(request.inputs.get("ipv6AddressCount") or 0)
    found: list[str] = []
    for _ in range(count if subnet else 0):
        taken = [*ipv6.holders(request, names.INSTANCE, "ipv6Addresses"), *found]
        found.append(ipv6.lowest(subnet and subnet.outputs["ipv6CidrBlock"], taken))
    return {"ipv6Addresses": found}


def _eip_outputs(request: Request, id: str) -> Mapping[str, Any]:
    address = network.public_address(request, names.FIRST_PUBLIC)
    dns = f"ec2-{address.replace('.', '-')}.{request.region}.compute.amazonaws.com"
    return {"publicIp": address, "allocationId": id, "publicDns": dns, "domain": "vpc"}


def _association_outputs(request: Request, id: str) -> Mapping[str, Any]:
    eip, instance = request.named("allocationId"), request.named("instanceId")
    return {
        "publicIp": eip.outputs["publicIp"] if eip else "",
        "privateIpAddress": instance.outputs.get("privateIp") if instance else "",
        "networkInterfaceId": instance.outputs["primaryNetworkInterfaceId"] if instance else "",
    }


def _association_internet(request: Request) -> Iterator[CloudError]:
    instance = request.named("instanceId")
    if instance is not None:
        subnet = request.store.get("aws", names.SUBNET, str(instance.inputs.get("subnetId")))
        if subnet is not None:
            yield from _internet_of(request, subnet.inputs["vpcId"], "instanceId")
    if request.inputs.get("allowReassociation") is False:
        for other in request.others():
            if other.inputs.get("allocationId") == request.inputs.get("allocationId"):
                text = f"the address is with {other.inputs.get('instanceId')} already"
                yield CloudError("Resource.AlreadyAssociated", text, "allocationId")


def _nat_internet(request: Request) -> Iterator[CloudError]:
    subnet = request.named("subnetId")
    if request.inputs.get("connectivityType", "public") != "public" or subnet is None:
        return
    if not request.inputs.get("allocationId"):
        yield CloudError("MissingParameter", "a public gateway needs one", "allocationId")
    yield from _internet_of(request, subnet.inputs["vpcId"], "subnetId")


def _nat_outputs(request: Request, id: str) -> Mapping[str, Any]:
    eip = request.named("allocationId")
    return {
        "publicIp": eip.outputs["publicIp"] if eip else "",
        "privateIp": network.assign(request, "privateIp", "subnetId", names.RESERVED),
        "networkInterfaceId": f"eni-0{random_hex(16)}",
        "associationId": f"eipassoc-0{random_hex(16)}",
    }


def _volume_zone(request: Request) -> Iterator[CloudError]:
    volume, instance = request.named("volumeId"), request.named("instanceId")
    if volume is None or instance is None:
        return
    here, there = (r.outputs.get("availabilityZone") for r in (volume, instance))
    if here != there:
        text = f"{volume.id} is in {here}, {instance.id} in {there}"
        yield CloudError("InvalidVolume.ZoneMismatch", text, "volumeId")
    for other in request.others():
        if other.inputs.get("volumeId") == volume.id:
            text = f"{volume.id} is attached to {other.inputs['instanceId']}"
            yield CloudError("VolumeInUse", text, "volumeId")


TYPES: Final[Mapping[str, TypeRules]] = {
    names.NAT: TypeRules(
        id=prefixed("nat-0", random_hex, 16),
        required=("subnetId|vpcId",),
        replace=frozenset({"subnetId", "allocationId", "connectivityType", "privateIp"}),
        refs=(Ref("subnetId", (names.SUBNET,)), Ref("allocationId", (names.EIP,))),
        demands=(_nat_internet, network.free_address("privateIp", "subnetId", names.RESERVED)),
        outputs=_nat_outputs,
    ),
    names.KEY_PAIR: TypeRules(
        id=from_inputs("{keyName}"),
        replace=frozenset({"keyName", "keyNamePrefix", "publicKey"}),
        checks=(common.public_key("publicKey"),),
        demands=(common.unique("keyName", "InvalidKeyPair.Duplicate"),),
        outputs=lambda _request, _id: {"keyPairId": f"key-0{random_hex(16)}"},
        auto_name="keyName",
    ),
    names.INSTANCE: TypeRules(
        id=prefixed("i-0", random_hex, 16),
        required=("ami|launchTemplate", "instanceType|launchTemplate", "subnetId"),
        replace=frozenset(
            {
                "ami",
                "subnetId",
                "keyName",
                "availabilityZone",
                "privateIp",
                "associatePublicIpAddress",
                "ebsBlockDevices",
                "networkInterfaces",
                "placementGroup",
                "ipv6Addresses",
                "ipv6AddressCount",
                "hibernation",
                "enclaveOptions",
            }
        ),
        refs=(
            Ref("subnetId", (names.SUBNET,)),
            Ref("vpcSecurityGroupIds[]", names.GROUPS),
            Ref("keyName", (f"{names.KEY_PAIR}#keyName",), on_delete="keep"),
            Ref(
                "iamInstanceProfile",
                ("aws:iam/instanceProfile:InstanceProfile#name",),
                on_delete="keep",
            ),
        ),
        checks=(
            network.zone("availabilityZone"),
            common.user_data("userData", "plain"),
            common.user_data("userDataBase64", "base64"),
            common.at_most_one("userData", "userDataBase64"),
            common.at_most_one("ipv6Addresses", "ipv6AddressCount"),
            common.matches("instanceType", r"[a-z0-9-]+\.[a-z0-9-]+", "such as t3.small"),
        ),
        demands=(
            _image_exists,
            network.same_network("vpcSecurityGroupIds", "subnetId", "InvalidGroup.NotFound"),
            network.free_address("privateIp", "subnetId", names.RESERVED),
            _ipv6_addresses,
            network.agrees(
                "availabilityZone", "subnetId", "availabilityZone", "InvalidParameterValue"
            ),
        ),
        deletion=(common.protected("disableApiTermination", "OperationNotPermitted"),),
        outputs=_instance_outputs,
    ),
    names.EIP: TypeRules(
        id=prefixed("eipalloc-0", random_hex, 16),
        replace=frozenset({"domain", "publicIpv4Pool", "networkBorderGroup"}),
        refs=(Ref("instance", (names.INSTANCE,), on_delete="keep"),),
        checks=(network.one_of("domain", ("vpc",)),),
        outputs=_eip_outputs,
    ),
    names.ASSOCIATION: TypeRules(
        id=prefixed("eipassoc-0", random_hex, 16),
        required=("allocationId|publicIp", "instanceId|networkInterfaceId"),
        replace=frozenset(
            {"allocationId", "instanceId", "networkInterfaceId", "privateIpAddress", "publicIp"}
        ),
        refs=(
            Ref("allocationId", (names.EIP,)),
            Ref("instanceId", (names.INSTANCE,), on_delete="cascade"),
        ),
        demands=(_association_internet,),
        outputs=_association_outputs,
    ),
    names.VOLUME: TypeRules(
        id=prefixed("vol-0", random_hex, 16),
        required=("size|snapshotId",),
        replace=frozenset({"availabilityZone", "encrypted", "kmsKeyId", "snapshotId"}),
        checks=(network.zone("availabilityZone"),),
    ),
    "aws:ec2/volumeAttachment:VolumeAttachment": TypeRules(
        id=prefixed("vai-", random_hex, 10),
        replace=frozenset({"deviceName", "instanceId", "volumeId"}),
        refs=(
            Ref("volumeId", (names.VOLUME,)),
            Ref("instanceId", (names.INSTANCE,), on_delete="cascade"),
        ),
        demands=(
            _volume_zone,
            common.not_twice(("instanceId", "deviceName"), "InvalidParameterValue"),
        ),
    ),
}
