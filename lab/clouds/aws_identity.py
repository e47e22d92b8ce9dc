"""IAM of AWS: users, their inline policies and access keys."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, Final

from lab.clouds import aws_names as names
from lab.clouds import common, identity, network
from lab.outputs import ACCOUNT
from lab.rules import Ref, Request, TypeRules, from_inputs

_UPPER: Final = string.ascii_uppercase + string.digits
_NAME: Final = r"[\w+=,.@-]{1,64}"
_NAME_MEANING: Final = "1 to 64 letters, digits, +=,.@_-"


def _user_outputs(request: Request, id: str) -> Mapping[str, Any]:
    path = request.inputs.get("path") or "/"
    return {
        "arn": f"arn:aws:iam::{ACCOUNT}:user{path}{id}",
        "path": path,
        "uniqueId": identity.word("AIDA", 17, _UPPER),
    }


def _key_outputs(request: Request, id: str) -> Mapping[str, Any]:
    return {
        "secret": identity.word("", 40),
        "status": request.inputs.get("status") or "Active",
        "createDate": identity.CREATED,
    }


TYPES: Final[Mapping[str, TypeRules]] = {
    names.USER: TypeRules(
        id=from_inputs("{name}"),
        replace=frozenset({"name", "path"}),  # IAM renames in place, but the name is the id here
        checks=(common.matches("name", _NAME, _NAME_MEANING),),
        demands=(common.unique("name", "EntityAlreadyExists"),),
        outputs=_user_outputs,
        auto_name="name",
        is_global=True,
        force="forceDestroy",
    ),
    names.USER_POLICY: TypeRules(
        id=from_inputs("{user}:{name}"),
        replace=frozenset({"name", "namePrefix", "user"}),
        refs=(Ref("user", (f"{names.USER}#name",), on_delete="content"),),
        checks=(
            common.matches("name", r"[\w+=,.@-]{1,128}", "1 to 128 letters, digits, +=,.@_-"),
            identity.policy_document("policy", "2012-10-17", 2048),
        ),
        auto_name="name",
        is_global=True,
    ),
    names.ACCESS_KEY: TypeRules(
        id=lambda _request: identity.word("AKIA", 16, _UPPER),
        replace=frozenset({"pgpKey", "user"}),
        refs=(Ref("user", (f"{names.USER}#name",), on_delete="content"),),
        checks=(network.one_of("status", ("Active", "Inactive")),),
        demands=(identity.few_keys("user", "LimitExceeded"),),
        outputs=_key_outputs,
        is_global=True,
    ),
}
