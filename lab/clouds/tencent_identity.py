"""CAM of Tencent Cloud: users, their policies and access keys."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from lab.clouds import common, identity, network
from lab.clouds import tencent_names as names
from lab.rules import Ref, Request, TypeRules, from_inputs


def _user_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {
        "uin": 100000000000 + secrets.randbelow(10**8) + 10,
        "uid": secrets.randbelow(10**7) + 10**6,
    }


def _key_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {
        "accessKey": id.split("#")[1],
        "secretAccessKey": identity.word("", 32),
        "status": request.inputs.get("status") or "Active",
    }


TYPES: Final[Mapping[str, TypeRules]] = {
    names.USER: TypeRules(
        id=from_inputs("{name}"),
        replace=frozenset({"name"}),
        checks=(common.matches("name", r"[\w+=,.@-]{1,64}", "1 to 64 letters, digits, +=,.@_-"),),
        demands=(common.unique("name", "InvalidParameter.SubUserNameInUse"),),
        outputs=_user_outputs,
        auto_name="name",
        is_global=True,
        force="forceDelete",
    ),
    names.POLICY: TypeRules(
        id=lambda _request: str(secrets.randbelow(10**8) + 10**8),
        checks=(
            common.matches("name", r"[\w+=,.@-]{1,128}", "1 to 128 letters, digits, +=,.@_-"),
            identity.policy_document("document", "2.0", 6144),
        ),
        demands=(common.unique("name", "FailedOperation.PolicyNameInUse"),),
        outputs=lambda _request, _id: {"type": 1, "createTime": identity.CREATED},
        auto_name="name",
        is_global=True,
    ),
    names.POLICY_ATTACHMENT: TypeRules(
        id=from_inputs("{userName}#{policyId}"),
        required=("userName",),  # the other, userId, is deprecated and means the same
        replace=frozenset({"policyId", "userId", "userName"}),
        refs=(
            Ref("userName", (f"{names.USER}#name",), on_delete="content"),
            Ref("policyId", (names.POLICY,)),
        ),
        is_global=True,
    ),
    names.ACCESS_KEY: TypeRules(
        id=lambda request: f"{request.inputs['targetUin']}#{identity.word('AKID', 32)}",
        required=("targetUin",),  # without it CAM makes a key of the caller
        replace=frozenset({"targetUin", "pgpKey"}),
        refs=(Ref("targetUin", (f"{names.USER}#uin",), on_delete="content"),),
        checks=(network.one_of("status", ("Active", "Inactive")),),
        demands=(identity.few_keys("targetUin", "OperationDenied.AccessKeyOverLimit"),),
        outputs=_key_outputs,
        is_global=True,
    ),
}
