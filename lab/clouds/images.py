"""The host images that every region of the simulated clouds offers, named as each cloud does."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab.resource import CloudError
from lab.store import Store

_DEBIAN_OWNER: Final = "136693071363"  # published at wiki.debian.org/Cloud/AmazonEC2Image
_CANONICAL_OWNER: Final = "099720109477"
_ROCKY_OWNER: Final = "792107900819"


@dataclass(frozen=True)
class Image:
    """One operating system image at all three clouds."""

    os: str  # "debian-12", "ubuntu-22.04", "rocky-9": the lab's word for the host's tree
    title: str
    alicloud: str  # image id
    tencent_id: str
    aws_name: str
    aws_owner: str
    aws_alias: str  # what the owner is called where it has a name
    date: str  # of the build


IMAGES: Final = (
    Image(
        os="debian-12",
        title="Debian 12.11 64 bit",
        alicloud="debian_12_11_x64_20G_alibase_20250630.vhd",
        tencent_id="img-7qn3z2ke",
        aws_name="debian-12-amd64-20250630-2158",
        aws_owner=_DEBIAN_OWNER,
        aws_alias="debian",
        date="2025-06-30T00:00:00.000Z",
    ),
    Image(
        os="ubuntu-22.04",
        title="Ubuntu Server 22.04 LTS 64 bit",
        alicloud="ubuntu_22_04_x64_20G_alibase_20250625.vhd",
        tencent_id="img-487zeit5",
        aws_name="ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20250627",
        aws_owner=_CANONICAL_OWNER,
        aws_alias="amazon",
        date="2025-06-27T00:00:00.000Z",
    ),
    Image(
        os="rocky-9",
        title="Rocky Linux 9.6 64 bit",
        alicloud="rockylinux_9_6_x64_20G_alibase_20250620.vhd",
        tencent_id="img-no575grc",
        aws_name="Rocky-9-EC2-Base-9.6-20250620.0.x86_64",
        aws_owner=_ROCKY_OWNER,
        aws_alias="",
        date="2025-06-20T00:00:00.000Z",
    ),
)


def ami(image: Image, region: str) -> str:
    """The id of an image in an AWS region: ids differ by region there."""
    return "ami-0" + hashlib.sha256(f"{region} {image.os}".encode()).hexdigest()[:16]


def find(cloud: str, region: str, id: str) -> Image | None:
    """The image of that id in a region."""
    for image in IMAGES:
        ids = {"alicloud": image.alicloud, "tencentcloud": image.tencent_id}
        if ids.get(cloud, ami(image, region)) == id:
            return image
    return None


# alicloud


def alicloud_images(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """ecs.getImages: by name_regex, owners, os_type, architecture, image_id or image_name."""
    found = [_alicloud_image(image) for image in IMAGES if _alicloud_matches(image, args)]
    if args.get("mostRecent"):
        found = sorted(found, key=lambda image: str(image["creationTime"]))[-1:]
    ids = [image["id"] for image in found]
    return {"id": _digest(ids), "ids": ids, "images": found}


def _alicloud_matches(image: Image, args: Mapping[str, Any]) -> bool:
    wanted = {
        "imageId": image.alicloud,
        "imageName": image.alicloud,
        "owners": "system",
        "osType": "linux",
        "architecture": "x86_64",
        "status": "Available",
    }
    if any(args.get(key) not in (None, "", value) for key, value in wanted.items()):
        return False
    return bool(_search(args.get("nameRegex"), image.alicloud, "nameRegex"))


def _alicloud_image(image: Image) -> dict[str, Any]:
    return {
        "id": image.alicloud,
        "imageId": image.alicloud,
        "name": image.alicloud,
        "imageName": image.alicloud,
        "architecture": "x86_64",
        "creationTime": image.date.replace(".000Z", "Z"),
        "description": image.title,
        "imageOwnerAlias": "system",
        "osName": image.title,
        "osNameEn": image.title,
        "osType": "linux",
        "platform": image.title.split(" ")[0],
        "state": "Available",
        "status": "Available",
        "size": 20,
        "usage": "instance",
        "isSupportCloudInit": True,
        "isSupportIoOptimized": True,
        "progress": "100%",
        "tags": {},
        "diskDeviceMappings": [],
    }


# tencentcloud


def tencent_images(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """images.getInstance: by image_name_regex or os_name, image_id and image_types."""
    if args.get("imageNameRegex") and args.get("osName"):
        raise CloudError("InvalidParameter", "conflicts with imageNameRegex", "osName")
    found = [_tencent_image(image) for image in IMAGES if _tencent_matches(image, args)]
    return {"id": _digest([image["imageId"] for image in found]), "images": found}


def _tencent_matches(image: Image, args: Mapping[str, Any]) -> bool:
    if args.get("imageId") not in (None, "", image.tencent_id):
        return False
    if args.get("imageTypes") and "PUBLIC_IMAGE" not in args["imageTypes"]:
        return False
    wanted = str(args.get("osName") or "").lower()
    name = _tencent_name(image)
    return wanted in name.lower() and _search(args.get("imageNameRegex"), name, "imageNameRegex")


def _tencent_name(image: Image) -> str:
    return image.title.replace(" 64 bit", " 64bit")


def _tencent_image(image: Image) -> dict[str, Any]:
    name = _tencent_name(image)
    return {
        "imageId": image.tencent_id,
        "imageName": name,
        "osName": name,
        "architecture": "x86_64",
        "createdTime": image.date,
        "imageCreator": "",
        "imageDescription": name,
        "imageSize": 20,
        "imageSource": "OFFICIAL",
        "imageState": "NORMAL",
        "imageType": "PUBLIC_IMAGE",
        "platform": name.split(" ")[0],
        "snapshots": [],
        "supportCloudInit": True,
        "syncPercent": 100,
    }


# aws


def aws_ami(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """ec2.getAmi: by owners, filters and name_regex; exactly one must remain."""
    owners = args.get("owners")
    if not owners and not args.get("filters") and not args.get("nameRegex"):
        raise CloudError("InvalidArgument", "owners, filters or nameRegex must be given", "owners")
    found = [image for image in IMAGES if _aws_matches(image, region, args)]
    if not found:
        raise CloudError("NotFound", "your query returned no results", "filters")
    if len(found) > 1 and not args.get("mostRecent"):
        text = "your query returned more than one result; set mostRecent or be more specific"
        raise CloudError("Ambiguous", text, "mostRecent")
    return _aws_image(max(found, key=lambda image: image.date), region)


def _aws_matches(image: Image, region: str, args: Mapping[str, Any]) -> bool:
    owners = args.get("owners") or []
    if owners and not {image.aws_owner, image.aws_alias} & set(owners):
        return False
    facts = _aws_image(image, region)
    for number, wanted in enumerate(args.get("filters") or []):
        if wanted["name"] not in _AWS_FILTERS:
            text = f"the filter {wanted['name']!r} is not known to the lab"
            raise CloudError("InvalidParameterValue", text, f"filters[{number}].name")
        value = str(facts[_AWS_FILTERS[wanted["name"]]])
        if not any(fnmatch.fnmatchcase(value, pattern) for pattern in wanted["values"]):
            return False
    return _search(args.get("nameRegex"), image.aws_name, "nameRegex")


_AWS_FILTERS: Final = {
    "name": "name",
    "architecture": "architecture",
    "virtualization-type": "virtualizationType",
    "root-device-type": "rootDeviceType",
    "image-id": "imageId",
    "image-type": "imageType",
    "state": "state",
    "owner-id": "ownerId",
    "description": "description",
    "hypervisor": "hypervisor",
    "ena-support": "enaSupport",
}


def _aws_image(image: Image, region: str) -> dict[str, Any]:
    id = ami(image, region)
    return {
        "id": id,
        "imageId": id,
        "arn": f"arn:aws:ec2:{region}::image/{id}",
        "architecture": "x86_64",
        "bootMode": "uefi-preferred",
        "creationDate": image.date,
        "description": image.title,
        "enaSupport": True,
        "hypervisor": "xen",
        "imageLocation": f"{image.aws_owner}/{image.aws_name}",
        "imageOwnerAlias": image.aws_alias,
        "imageType": "machine",
        "name": image.aws_name,
        "ownerId": image.aws_owner,
        "platformDetails": "Linux/UNIX",
        "public": True,
        "region": region,
        "rootDeviceName": "/dev/xvda",
        "rootDeviceType": "ebs",
        "sriovNetSupport": "simple",
        "state": "available",
        "virtualizationType": "hvm",
        "blockDeviceMappings": [],
        "productCodes": [],
        "stateReason": {},
        "tags": {},
    }


def _search(pattern: Any, text: str, property: str) -> bool:
    try:
        return not pattern or re.search(str(pattern), text) is not None
    except re.error as error:
        raise CloudError(
            "InvalidArgument", f"is not a regular expression: {error}", property
        ) from error


def _digest(ids: list[Any]) -> str:
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()[:16]
