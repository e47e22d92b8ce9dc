"""What the simulated RAM, CAM and IAM refuse, and what they draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab import wire
from lab.provider import Target
from lab.resource import CloudError
from tests.engine.lab_region import Case, Known, RefusedError, Region, case_ids

ALI_USER, ALI_POLICY = "alicloud:ram/user:User", "alicloud:ram/policy:Policy"
ALI_LINK = "alicloud:ram/userPolicyAttachment:UserPolicyAttachment"
ALI_KEY = "alicloud:ram/accessKey:AccessKey"
TC_USER, TC_POLICY = "tencentcloud:Cam/user:User", "tencentcloud:Cam/policy:Policy"
TC_LINK = "tencentcloud:Cam/userPolicyAttachment:UserPolicyAttachment"
TC_KEY = "tencentcloud:Cam/accessKey:AccessKey"
USER, POLICY = "aws:iam/user:User", "aws:iam/userPolicy:UserPolicy"
KEY = "aws:iam/accessKey:AccessKey"
REGIONS = {"alicloud": "cn-beijing", "tencentcloud": "ap-shanghai", "aws": "ap-east-1"}


def document(version: str, **changes: Any) -> str:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", **changes}
    return json.dumps({"Version": version, "Statement": [statement]})


CASES: list[Case] = [
    ("a name with a space", ALI_USER, lambda _k: {"name": "a b"}, "name"),
    ("a policy without a name", ALI_POLICY, lambda _k: {"policyDocument": "{}"}, "policyName"),
    (
        "a policy that is not JSON",
        ALI_POLICY,
        lambda _k: {"policyName": "p", "policyDocument": "allow"},
        "policyDocument",
    ),
    (
        "a policy of another cloud's version",
        ALI_POLICY,
        lambda _k: {"policyName": "p", "policyDocument": document("2012-10-17")},
        "policyDocument",
    ),
    (
        "a policy for nobody",
        ALI_LINK,
        lambda _k: {"userName": "nobody", "policyName": "p", "policyType": "Custom"},
        "userName",
    ),
    ("a key for nobody", ALI_KEY, lambda _k: {"userName": "nobody"}, "userName"),
    (
        "a statement without resource",
        TC_POLICY,
        lambda _k: {"name": "p", "document": document("2.0", Resource=None)},
        "document",
    ),
    (
        "a policy that does not exist",
        TC_LINK,
        lambda k: {"userName": k["user"], "policyId": "1"},
        "policyId",
    ),
    ("a key of an unknown number", TC_KEY, lambda _k: {"targetUin": 1}, "targetUin"),
    (
        "an effect that is neither",
        POLICY,
        lambda k: {"user": k["user"], "policy": document("2012-10-17", Effect="Maybe")},
        "policy",
    ),
    (
        "a policy that is too long",
        POLICY,
        lambda k: {"user": k["user"], "policy": document("2012-10-17", Action="x" * 2048)},
        "policy",
    ),
    ("a status that is no status", KEY, lambda k: {"user": k["user"], "status": "Off"}, "status"),
]


def region(cloud: str, state: Path) -> Region:
    return Region(cloud, REGIONS[cloud], state)


@pytest.mark.parametrize(("reason", "type", "inputs", "property"), CASES, ids=case_ids)
def test_the_property_at_fault_is_named(
    reason: str, type: str, inputs: Any, property: str, tmp_path: Path
) -> None:
    cloud = type.partition(":")[0]
    made = region(cloud, tmp_path)
    user = {"alicloud": ALI_USER, "tencentcloud": TC_USER, "aws": USER}[cloud]
    known: Known = {"user": made.make(user, "acme", name="acme") and "acme"}

    with pytest.raises(RefusedError) as refused:
        made.make(type, "wrong", **inputs(known))

    assert refused.value.property == property, reason


def with_key(cloud: str, state: Path, **user: Any) -> tuple[Region, str, str]:
    """A region, a user's id and the id of that user's key."""
    made = region(cloud, state)
    if cloud == "tencentcloud":
        owner = made.make(TC_USER, "acme", name="acme", **user)
        uin = made.output(TC_USER, owner, "uin")
        return made, owner, made.make(TC_KEY, "acme", targetUin=uin)
    type, key, property = (
        (ALI_USER, ALI_KEY, "userName") if cloud == "alicloud" else (USER, KEY, "user")
    )
    owner = made.make(type, "acme", name="acme", **user)
    return made, owner, made.make(key, "acme", **{property: "acme"})


@pytest.mark.parametrize(
    ("cloud", "key", "secret", "length"),
    [
        ("alicloud", ALI_KEY, "secret", 30),
        ("tencentcloud", TC_KEY, "secretAccessKey", 32),
        ("aws", KEY, "secret", 40),
    ],
)
def test_a_keys_secret_is_drawn_once_and_is_secret_to_the_engine(
    cloud: str, key: str, secret: str, length: int, tmp_path: Path
) -> None:
    made, _, id = with_key(cloud, tmp_path)
    target = Target(f"urn:pulumi:dev::trial::{key}::acme", seed=b"seed")

    read = made.handler.read(target, id, {}, {})

    assert read is not None
    drawn = made.output(key, id, secret)
    assert len(drawn) == length
    assert read[1][secret] == wire.Secret(drawn)


@pytest.mark.parametrize(("cloud", "property"), [("alicloud", "userName"), ("aws", "user")])
def test_a_user_has_two_keys_at_most(cloud: str, property: str, tmp_path: Path) -> None:
    made, _, _ = with_key(cloud, tmp_path)
    key = ALI_KEY if cloud == "alicloud" else KEY
    made.make(key, "second", **{property: "acme"})

    with pytest.raises(RefusedError, match="LimitExceeded"):
        made.make(key, "third", **{property: "acme"})


@pytest.mark.parametrize(
    ("cloud", "type", "force"),
    [
        ("alicloud", ALI_USER, "force"),
        ("tencentcloud", TC_USER, "forceDelete"),
        ("aws", USER, "forceDestroy"),
    ],
)
def test_a_user_with_keys_goes_only_by_force(
    cloud: str, type: str, force: str, tmp_path: Path
) -> None:
    kept, user, _ = with_key(cloud, tmp_path / "kept")
    with pytest.raises(CloudError, match="DependencyViolation"):
        kept.drop(type, "acme", user)

    forced, user, _ = with_key(cloud, tmp_path / "forced", **{force: True})
    forced.drop(type, "acme", user)
    assert not forced.store.all(cloud)


def test_a_policy_in_use_stays(tmp_path: Path) -> None:
    made, _, _ = with_key("alicloud", tmp_path)
    policy = made.make(ALI_POLICY, "p", policyName="p", policyDocument=document("1"))
    made.make(ALI_LINK, "l", userName="acme", policyName="p", policyType="Custom")

    with pytest.raises(CloudError, match="DependencyViolation"):
        made.drop(ALI_POLICY, "p", policy)


def test_a_domain_has_the_same_number_every_time(tmp_path: Path) -> None:
    made = region("tencentcloud", tmp_path)
    token = "tencentcloud:Dnspod/getDomainList:getDomainList"

    found = [
        made.handler.invoke(token, {"type": "ALL", "keyword": "example.com"})["domainLists"]
        for _ in range(2)
    ]

    assert found[0] == found[1]
    assert found[0][0]["name"] == "example.com"
