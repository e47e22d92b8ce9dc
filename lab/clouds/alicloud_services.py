"""Alidns and OSS of Alibaba Cloud."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import alicloud_names as names
from lab.clouds import common, network
from lab.resource import CloudError
from lab.rules import Ref, Request, TypeRules, from_inputs

_RECORD_TYPES: Final = (
    "A",
    "AAAA",
    "CAA",
    "CNAME",
    "FORWARD_URL",
    "MX",
    "NS",
    "REDIRECT_URL",
    "SRV",
    "SVCB",
    "HTTPS",
    "TXT",
)
_FREE_TTL: Final = 600  # seconds: the shortest of the free edition
_ACLS: Final = ("private", "public-read", "public-read-write")
_RECORD_NAME: Final = r"@|(\*|[\w-]+)(\.[\w-]+)*"


def _mail_priority(request: Request) -> Iterator[Problem]:
    if request.inputs.get("type") == "MX" and request.inputs.get("priority") is None:
        yield Problem("priority", "is required for MX")


def _record_id(request: Request) -> str:
    return str(secrets.randbelow(9 * 10**17) + 10**17)  # 18 digits


def _bucket_outputs(request: Request, id: str) -> Mapping[str, Any]:
    place = f"oss-{request.region}"
    return {
        "location": place,
        "extranetEndpoint": f"{place}.aliyuncs.com",
        "intranetEndpoint": f"{place}-internal.aliyuncs.com",
        "storageClass": request.inputs.get("storageClass") or "Standard",
    }


def _public_acl(request: Request) -> Iterator[CloudError]:
    """An access block of the bucket forbids public ACLs."""
    if not str(request.inputs.get("acl", "")).startswith("public"):
        return
    for block in request.store.all("alicloud", names.BLOCK):
        same = block.inputs.get("bucket") == request.inputs.get("bucket")
        if same and block.inputs.get("blockPublicAccess") in (True, "true"):
            text = f"{block.name!r} blocks public access to {request.inputs['bucket']}"
            yield CloudError("AccessDenied", text, "acl")


def _object_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {"etag": common.content_md5(request).upper()}


def _of_bucket(**more: Any) -> TypeRules:
    """A setting of a bucket: it goes with the bucket and bears its name."""
    return TypeRules(
        id=from_inputs("{bucket}"),
        replace=frozenset({"bucket"}),
        refs=(Ref("bucket", (names.BUCKET,), on_delete="cascade"),),
        **more,
    )


TYPES: Final[Mapping[str, TypeRules]] = {
    names.RECORD: TypeRules(
        id=_record_id,
        replace=frozenset({"domainName"}),
        checks=(
            common.record_type("type", _RECORD_TYPES),
            common.record_suits("type", "value"),
            common.matches("rr", _RECORD_NAME, "@, * or labels with dots"),
            common.minimum_ttl("ttl", _FREE_TTL),
            _mail_priority,
        ),
        demands=(
            common.not_twice(
                ("domainName", "rr", "type", "line", "value"), "DomainRecordDuplicate"
            ),
            common.alias_stands_alone(("domainName", "rr"), "type", "DomainRecordConflict"),
        ),
        outputs=lambda request, _id: {
            "ttl": request.inputs.get("ttl") or _FREE_TTL,
            "line": request.inputs.get("line") or "default",
            "status": "ENABLE",
        },
    ),
    names.BUCKET: TypeRules(
        id=from_inputs("{bucket}"),
        replace=frozenset({"bucket", "redundancyType", "storageClass"}),
        checks=(
            common.matches(
                "bucket",
                r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
                "3 to 63 lower-case letters, digits and hyphens",
            ),
            network.one_of("acl", _ACLS),
        ),
        demands=(common.unique("bucket", "BucketAlreadyExists", globally=True),),
        outputs=_bucket_outputs,
        auto_name="bucket",
        force="forceDestroy",
    ),
    "alicloud:oss/bucketAcl:BucketAcl": _of_bucket(
        checks=(network.one_of("acl", _ACLS),), demands=(_public_acl,)
    ),
    names.BLOCK: _of_bucket(),
    "alicloud:oss/bucketVersioning:BucketVersioning": _of_bucket(),
    "alicloud:oss/bucketObject:BucketObject": TypeRules(
        id=from_inputs("{bucket}/{key}"),
        replace=frozenset({"bucket", "key"}),
        refs=(Ref("bucket", (names.BUCKET,), on_delete="content"),),
        checks=(
            common.at_most_one("source", "content"),
            network.one_of("acl", ("default", *_ACLS)),
        ),
        demands=(_public_acl,),
        derived=_object_outputs,
    ),
}
