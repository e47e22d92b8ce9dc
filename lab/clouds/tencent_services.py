"""DNSPod and COS of Tencent Cloud."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.clouds import common, network
from lab.clouds import tencent_names as names
from lab.rules import Ref, Request, TypeRules, from_inputs

_RECORD_TYPES: Final = (
    "A",
    "AAAA",
    "CAA",
    "CNAME",
    "HTTPS",
    "MX",
    "NS",
    "SPF",
    "SRV",
    "SVCB",
    "TXT",
)
_LINES: Final = ("默认", "电信", "联通", "移动", "教育网", "境内", "境外", "百度", "谷歌", "搜搜")
_FREE_TTL: Final = 600  # seconds: the shortest of the free edition
_ACLS: Final = ("private", "public-read", "public-read-write")


def _mail_priority(request: Request) -> Iterator[Problem]:
    if request.inputs.get("recordType") == "MX" and request.inputs.get("mx") is None:
        yield Problem("mx", "is required for MX")


def _bucket_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {"cosBucketUrl": f"https://{id}.cos.{request.region}.myqcloud.com"}


def _object_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {"etag": common.content_md5(request)}


TYPES: Final[Mapping[str, TypeRules]] = {
    names.RECORD: TypeRules(
        id=lambda request: f"{request.inputs['domain']}#{secrets.randbelow(9 * 10**9) + 10**9}",
        replace=frozenset({"domain"}),
        checks=(
            common.record_type("recordType", _RECORD_TYPES),
            common.record_suits("recordType", "value"),
            network.one_of("recordLine", _LINES),
            common.matches("subDomain", r"@|(\*|[\w-]+)(\.[\w-]+)*", "@, * or labels with dots"),
            common.minimum_ttl("ttl", _FREE_TTL),
            _mail_priority,
        ),
        demands=(
            common.not_twice(
                ("domain", "subDomain", "recordType", "recordLine", "value"), "DomainRecordExist"
            ),
            common.alias_stands_alone(("domain", "subDomain"), "recordType", "RecordConflict"),
        ),
        outputs=lambda request, id: {
            "ttl": request.inputs.get("ttl") or _FREE_TTL,
            "subDomain": request.inputs.get("subDomain") or "@",
            "status": "ENABLE",
            "recordId": id.split("#")[1],
        },
    ),
    names.BUCKET: TypeRules(
        id=from_inputs("{bucket}"),
        replace=frozenset({"bucket", "multiAz"}),
        checks=(
            common.matches(
                "bucket",
                r"[a-z0-9][a-z0-9-]{0,48}-\d{8,12}",
                "lower-case letters, digits and hyphens, then -<appid>",
            ),
            network.one_of("acl", _ACLS),
        ),
        demands=(common.unique("bucket", "BucketAlreadyExists", globally=True),),
        outputs=_bucket_outputs,
        force="forceClean",
    ),
    "tencentcloud:Cos/bucketObject:BucketObject": TypeRules(
        id=from_inputs("{bucket}/{key}"),
        replace=frozenset({"bucket", "key"}),
        refs=(Ref("bucket", (names.BUCKET,), on_delete="content"),),
        checks=(
            common.at_most_one("source", "content"),
            network.one_of("acl", ("default", *_ACLS)),
        ),
        derived=_object_outputs,
    ),
}
