"""The three clouds' DNS services in the lab, each with a zone and a key for it, and lego with that
key.

The keys are those of users that the clouds were asked to make. No host is booted: lego runs on the
operator's workstation, without a flag that is for the lab.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drills.client import DIST
from lab.clouds import tencent_names
from lab.region import Region
from lab.world.command import Done
from lab.world.world import World
from mesh import permissions

# Variables come by standard input, since others see the words of a command line.
_SETTING: Final = ("sh", "-euc", 'set -a; eval "$(cat)"; exec "$@"', "sh")


@dataclass(frozen=True)
class Service:
    """A DNS service with two zones and a key for the first, in lego's words."""

    provider: str
    variables: dict[str, str]
    secret: str  # names of variables
    key: str
    bad_signature: str  # what the service says
    bad_key: str
    forbidden: str
    pinned: tuple[tuple[str, str], ...] = ()  # what spares lego the search for its zone

    @property
    def zone(self) -> str:
        return f"{self.provider}.example"

    @property
    def other_zone(self) -> str:
        return f"other-{self.provider}.example"


def alidns(world: World) -> Service:
    cloud, zone = Region("alicloud", "cn-beijing", world.state.root), "alidns.example"
    for name in (zone, f"other-{zone}"):
        record = {"domainName": name, "rr": "hs", "type": "A", "value": "198.18.2.200"}
        cloud.make("alicloud:dns/alidnsRecord:AlidnsRecord", name, **record, ttl=600)
    document = permissions.alidns(zone)
    cloud.make("alicloud:ram/user:User", "acme", name="acme")
    cloud.make("alicloud:ram/policy:Policy", "acme", policyName="acme", policyDocument=document)
    granted = {"userName": "acme", "policyName": "acme", "policyType": "Custom"}
    cloud.make("alicloud:ram/userPolicyAttachment:UserPolicyAttachment", "acme", **granted)
    type = "alicloud:ram/accessKey:AccessKey"
    key = cloud.make(type, "acme", userName="acme")
    return Service(
        provider="alidns",
        variables={
            "ALICLOUD_ACCESS_KEY": key,
            "ALICLOUD_SECRET_KEY": cloud.output(type, key, "secret"),
        },
        secret="ALICLOUD_SECRET_KEY",
        key="ALICLOUD_ACCESS_KEY",
        bad_signature="SignatureDoesNotMatch",
        bad_key="InvalidAccessKeyId.NotFound",
        forbidden="Forbidden.RAM",
    )


def dnspod(world: World) -> Service:
    cloud, zone = Region("tencentcloud", "ap-shanghai", world.state.root), "tencentcloud.example"
    for name in (zone, f"other-{zone}"):
        record = {"domain": name, "subDomain": "hs", "recordType": "A", "recordLine": "默认"}
        type = "tencentcloud:Dnspod/record:Record"
        cloud.make(type, name, **record, value="198.18.3.200", ttl=600)
    document = permissions.dnspod(tencent_names.ACCOUNT, str(tencent_names.domain_id(zone)))
    cloud.make(tencent_names.USER, "acme", name="acme")
    policy = cloud.make(tencent_names.POLICY, "acme", name="acme", document=document)
    granted = {"userName": "acme", "policyId": policy}
    cloud.make(tencent_names.POLICY_ATTACHMENT, "acme", **granted)
    uin = cloud.output(tencent_names.USER, "acme", "uin")
    type = tencent_names.ACCESS_KEY
    key = cloud.make(type, "acme", targetUin=uin)
    return Service(
        provider="tencentcloud",
        variables={
            "TENCENTCLOUD_SECRET_ID": cloud.output(type, key, "accessKey"),
            "TENCENTCLOUD_SECRET_KEY": cloud.output(type, key, "secretAccessKey"),
        },
        secret="TENCENTCLOUD_SECRET_KEY",
        key="TENCENTCLOUD_SECRET_ID",
        bad_signature="AuthFailure.SignatureFailure",
        bad_key="AuthFailure.SecretIdNotFound",
        forbidden="AuthFailure.UnauthorizedOperation",
    )


def route53(world: World) -> Service:
    cloud, zone = Region("aws", "ap-east-1", world.state.root), "route53.example"
    ids = {
        name: cloud.make("aws:route53/zone:Zone", name, name=name)
        for name in (zone, f"other-{zone}")
    }
    cloud.make("aws:iam/user:User", "acme", name="acme")
    policy = {"name": "acme", "user": "acme", "policy": permissions.route53(ids[zone])}
    cloud.make("aws:iam/userPolicy:UserPolicy", "acme", **policy)
    type = "aws:iam/accessKey:AccessKey"
    key = cloud.make(type, "acme", user="acme")
    return Service(
        provider="route53",
        variables={
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": cloud.output(type, key, "secret"),
            "AWS_REGION": "us-east-1",
        },
        secret="AWS_SECRET_ACCESS_KEY",
        key="AWS_ACCESS_KEY_ID",
        bad_signature="SignatureDoesNotMatch",
        bad_key="InvalidClientTokenId",
        forbidden="AccessDenied",
        pinned=(("AWS_HOSTED_ZONE_ID", ids[zone]),),
    )


SERVICES: Final[dict[str, Callable[[World], Service]]] = {
    "alidns": alidns,
    "dnspod": dnspod,
    "route53": route53,
}


def lego(
    world: World, folder: Path, name: str, *challenge: str, variables: dict[str, str] | None = None
) -> Done:
    """What lego says and how it ends when it is asked for a certificate; a new account each time
    that the folder is new."""
    account = ["--accept-tos", "--email", "ops@example.com", "--path", str(folder)]
    program = DIST / json.loads((DIST / "manifest.json").read_text())["lego"]["path"]
    line = [str(program), *account, *challenge, "--domains", name, "run"]
    settings = "\n".join(f"{key}={shlex.quote(value)}" for key, value in (variables or {}).items())
    return world.operator.run([*_SETTING, *line], stdin=settings, check=False, within=240)
