"""Amazon Web Services: what EC2, Route 53, IAM and S3 demand beyond the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lab.clouds import aws_hosts, aws_identity, aws_network, aws_services, images
from lab.clouds import aws_names as names
from lab.outputs import ACCOUNT
from lab.rules import CloudRules
from lab.store import Store


def _zone_names(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """getAvailabilityZones of the region."""
    zones = list(names.ZONES[region])
    ids = [f"{region}-az{number}" for number in range(1, len(zones) + 1)]
    return {"id": region, "names": zones, "zoneIds": ids, "groupNames": [region]}


def _caller(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    arn = f"arn:aws:iam::{ACCOUNT}:user/lab"
    return {"id": ACCOUNT, "accountId": ACCOUNT, "arn": arn, "userId": "AIDALAB"}


RULES: Final = CloudRules(
    zones=names.ZONES,
    types={
        **aws_network.TYPES,
        **aws_hosts.TYPES,
        **aws_services.TYPES,
        **aws_identity.TYPES,
    },
    functions={
        "aws:ec2/getAmi:getAmi": images.aws_ami,
        "aws:route53/getZone:getZone": aws_services.get_zone,
        "aws:index/getAvailabilityZones:getAvailabilityZones": _zone_names,
        "aws:index/getCallerIdentity:getCallerIdentity": _caller,
    },
    region_hint="set it on aws.Provider or with `pulumi config set aws:region`",
    global_modules=("aws:route53/", "aws:iam/", "aws:cloudfront/"),
)
