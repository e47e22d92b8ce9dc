"""Route 53 and S3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import aws_names as names
from lab.clouds import common
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, from_inputs, random_hex
from lab.store import Store

_RECORD_TYPES: Final = ("A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR")


# DNS


def _record_in_zone(request: Request) -> Iterator[CloudError]:
    zone = request.named("zoneId")
    if zone is None:
        return
    domain, kind = str(zone.outputs["name"]).rstrip("."), request.inputs.get("type")
    if kind == "CNAME" and str(request.inputs["name"]).rstrip(".") in {"", domain}:
        yield CloudError("InvalidChangeBatch", f"a CNAME cannot stand at {domain}", "type")


def _record_name(request: Request, id: str) -> Mapping[str, Any]:
    zone = request.named("zoneId")
    domain = str(zone.outputs["name"]).rstrip(".") if zone else ""
    name = str(request.inputs["name"]).rstrip(".").lower()
    whole = name == domain or name.endswith(f".{domain}")
    return {"fqdn": name if whole else f"{name}.{domain}".lstrip(".")}


def _record_has_value(request: Request) -> Iterator[Problem]:
    if request.inputs.get("records") and request.inputs.get("ttl") is None:
        yield Problem("ttl", "is required with records")


def _zone_outputs(request: Request, id: str) -> Mapping[str, Any]:
    servers = [f"ns-{number}.awsdns-{number:02}.org" for number in (11, 22, 33, 44)]
    return {"zoneId": id, "nameServers": servers, "primaryNameServer": servers[0]}


def get_zone(store: Store, region: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """route53.getZone: by zone_id or by name."""
    for zone in store.all("aws", names.HOSTED_ZONE):
        name = str(zone.outputs["name"]).rstrip(".")
        if args.get("zoneId") == zone.id or str(args.get("name", "")).rstrip(".") == name:
            shown = ("arn", "nameServers", "primaryNameServer", "comment", "tags")
            outputs = {key: zone.outputs[key] for key in shown if key in zone.outputs}
            return {**outputs, "id": zone.id, "zoneId": zone.id, "name": name}
    wanted = args.get("zoneId") or args.get("name")
    raise CloudError("NotFound", f"no matching Route 53 hosted zone {wanted!r}", "name")


# Buckets


def _bucket_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {
        "arn": f"arn:aws:s3:::{id}",
        "bucketDomainName": f"{id}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{id}.s3.{request.region}.amazonaws.com",
    }


def _policy_is_json(request: Request) -> Iterator[Problem]:
    text = request.known("policy")
    try:
        if text is not None:
            json.loads(text)
    except ValueError as error:
        yield Problem("policy", f"is not JSON: {error}")


def _public_policy(request: Request) -> Iterator[CloudError]:
    """A bucket blocks public policies unless a public access block says otherwise."""
    statements = json.loads(request.inputs["policy"]).get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        everyone = statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        public = everyone and statement.get("Effect") == "Allow" and not statement.get("Condition")
        if public and _blocks(request, "blockPublicPolicy"):
            text = "public policies are blocked by the bucket's BlockPublicPolicy setting"
            yield CloudError("AccessDenied", text, "policy")


def _public_acl(request: Request) -> Iterator[CloudError]:
    acl, bucket = request.inputs.get("acl"), request.inputs.get("bucket")
    if not acl:
        return
    owned = [
        c for c in request.store.all("aws", names.OWNERSHIP) if c.inputs.get("bucket") == bucket
    ]
    if all(c.inputs["rule"]["objectOwnership"] == "BucketOwnerEnforced" for c in owned):
        text = f"{bucket} does not allow ACLs; give it BucketOwnershipControls or a policy"
        yield CloudError("AccessControlListNotSupported", text, "acl")
    elif str(acl).startswith("public") and _blocks(request, "blockPublicAcls"):
        text = "public ACLs are blocked by the bucket's BlockPublicAcls setting"
        yield CloudError("AccessDenied", text, "acl")


def _blocks(request: Request, setting: str) -> bool:
    for block in request.store.all("aws", names.BLOCK):
        if block.inputs["bucket"] == request.inputs["bucket"]:
            return block.inputs.get(setting, False) is True
    return True  # since April 2023 a new bucket blocks all of it


def _object_outputs(request: Request, id: str) -> Mapping[str, Any]:
    bucket, key = request.inputs["bucket"], request.inputs.get("key")
    return {"arn": f"arn:aws:s3:::{bucket}/{key}", "etag": common.content_md5(request)}


def _of_bucket(**more: Any) -> TypeRules:
    """A setting of a bucket: it goes with the bucket and bears its name."""
    return TypeRules(
        id=from_inputs("{bucket}"),
        replace=frozenset({"bucket"}),
        refs=(Ref("bucket", (names.BUCKET,), on_delete="cascade"),),
        **more,
    )


TYPES: Final[Mapping[str, TypeRules]] = {
    names.HOSTED_ZONE: TypeRules(
        id=lambda _request: f"Z{random_hex(20).upper()}",
        required=("name",),
        replace=frozenset({"name", "delegationSetId"}),
        outputs=_zone_outputs,
        is_global=True,
        force="forceDestroy",
    ),
    "aws:route53/record:Record": TypeRules(
        id=from_inputs("{zoneId}_{name}_{type}_{setIdentifier}"),
        required=("records|aliases",),
        replace=frozenset({"name", "zoneId", "setIdentifier", "type"}),
        refs=(Ref("zoneId", (names.HOSTED_ZONE,), on_delete="content"),),
        checks=(
            common.record_type("type", (*_RECORD_TYPES, "SOA", "SPF", "SRV", "SVCB", "TXT")),
            common.record_suits("type", "records"),
            common.minimum_ttl("ttl", 0),
            _record_has_value,
        ),
        demands=(
            _record_in_zone,
            common.alias_stands_alone(("zoneId", "name"), "type", "InvalidChangeBatch"),
        ),
        outputs=_record_name,
        is_global=True,
    ),
    names.BUCKET: TypeRules(
        id=from_inputs("{bucket}"),
        replace=frozenset({"bucket", "bucketPrefix", "objectLockEnabled"}),
        checks=(
            common.matches(
                "bucket",
                r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
                "3 to 63 lower-case letters, digits, dots and hyphens",
            ),
        ),
        demands=(common.unique("bucket", "BucketAlreadyExists", globally=True),),
        outputs=_bucket_outputs,
        auto_name="bucket",
        force="forceDestroy",
    ),
    names.BLOCK: _of_bucket(),
    "aws:s3/bucketPolicy:BucketPolicy": _of_bucket(
        checks=(_policy_is_json,), demands=(_public_policy,)
    ),
    names.OWNERSHIP: _of_bucket(),
    "aws:s3/bucketVersioning:BucketVersioning": _of_bucket(),
    "aws:s3/bucketObjectv2:BucketObjectv2": TypeRules(
        id=from_inputs("{bucket}/{key}"),
        required=("key",),
        replace=frozenset({"bucket", "key"}),
        refs=(Ref("bucket", (names.BUCKET,), on_delete="content"),),
        checks=(common.at_most_one("source", "content", "contentBase64"),),
        demands=(_public_acl,),
        derived=_object_outputs,
    ),
}
