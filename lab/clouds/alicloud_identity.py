"""RAM of Alibaba Cloud: users, their policies and access keys."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from lab.clouds import alicloud_names as names
from lab.clouds import common, identity, network
from lab.rules import Ref, Request, TypeRules, from_inputs

_OF_USER: Final = f"{names.USER}#name"


def _policy_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {
        "policyName": id,
        "type": "Custom",
        "defaultVersion": "v1",
        "versionId": "v1",
        "createTime": identity.CREATED,
    }


def _key_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {
        "secret": identity.word("", 30),
        "status": request.inputs.get("status") or "Active",
        "createTime": identity.CREATED,
    }


TYPES: Final[Mapping[str, TypeRules]] = {
    names.USER: TypeRules(
        id=lambda _request: str(secrets.randbelow(10**17) + 2 * 10**17),  # 18 digits
        checks=(
            common.matches("name", r"[\w.@-]{1,64}", "1 to 64 letters, digits, dots, @, _ and -"),
        ),
        demands=(common.unique("name", "EntityAlreadyExists.User"),),
        auto_name="name",
        is_global=True,
        force="force",
    ),
    names.POLICY: TypeRules(
        id=lambda request: str(request.inputs.get("policyName") or request.inputs.get("name")),
        required=("policyName|name", "policyDocument"),  # the old forms of it are not played
        replace=frozenset({"policyName", "name"}),
        checks=(
            common.matches("policyName", r"[A-Za-z0-9-]{1,128}", "letters, digits and hyphens"),
            identity.policy_document("policyDocument", "1", 6144),
            network.one_of(
                "rotateStrategy", ("None", "DeleteOldestNonDefaultVersionWhenLimitExceeded")
            ),
        ),
        demands=(common.unique("policyName", "EntityAlreadyExists.Policy"),),
        outputs=_policy_outputs,
        is_global=True,
    ),
    names.POLICY_ATTACHMENT: TypeRules(
        id=from_inputs("user:{policyName}:{policyType}:{userName}"),
        replace=frozenset({"policyName", "policyType", "userName"}),
        refs=(
            Ref("userName", (_OF_USER,), on_delete="content"),
            Ref("policyName", (f"{names.POLICY}#policyName",)),
        ),
        checks=(network.one_of("policyType", ("Custom",)),),  # the lab has none of the system's
        is_global=True,
    ),
    names.ACCESS_KEY: TypeRules(
        id=lambda _request: identity.word("LTAI5t", 18),
        required=("userName",),  # without it RAM makes a key of the whole account
        replace=frozenset({"userName", "pgpKey"}),
        refs=(Ref("userName", (_OF_USER,), on_delete="content"),),
        checks=(network.one_of("status", ("Active", "Inactive")),),
        demands=(identity.few_keys("userName", "LimitExceeded.User.AccessKey"),),
        outputs=_key_outputs,
        is_global=True,
    ),
}
