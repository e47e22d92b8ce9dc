"""What the lab reads from the SDKs' source, and what it says about inputs that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from lab import checks, schema, wire
from lab.resource import Asset


def reasons(token: str, **inputs: Any) -> dict[str, str]:
    """Property → what is wrong with it."""
    found = schema.resource(token)
    assert found is not None
    return {problem.property: problem.reason for problem in checks.problems(found, inputs)}


@pytest.mark.parametrize(
    "token",
    [
        "alicloud:ecs/instance:Instance",
        "alicloud:vpc/hAVip:HAVip",
        "tencentcloud:Security/groupRuleSet:GroupRuleSet",
        "aws:ec2/instance:Instance",
        "aws:s3/bucketObjectv2:BucketObjectv2",
        "command:remote:Command",
        "random:index/randomPassword:RandomPassword",
        "tls:index/selfSignedCert:SelfSignedCert",
    ],
)
def test_every_package_and_spelling_of_a_token_is_found(token: str) -> None:
    found = schema.resource(token)

    assert found is not None
    assert found.inputs.shapes
    assert found.outputs


def test_an_unknown_type_and_an_unknown_package_have_no_schema() -> None:
    assert schema.resource("aws:ec2/nothing:Nothing") is None
    assert schema.resource("azure:index/thing:Thing") is None


def test_required_inputs_secret_outputs_and_nested_types_are_read() -> None:
    password = schema.resource("random:index/randomPassword:RandomPassword")
    command = schema.resource("command:remote:Command")

    assert password is not None
    assert password.inputs.required == ("length",)
    assert password.secrets == ("bcryptHash", "result")
    assert command is not None
    assert command.objects["ConnectionArgs"].required == ("host",)
    assert "hostKey" in command.objects["ProxyConnectionArgs"].shapes


def test_the_arguments_of_functions_are_read() -> None:
    found = schema.function("aws:ec2/getAmi:getAmi")

    assert found is not None
    assert found.inputs.shapes["mostRecent"].kind == "bool"
    assert found.objects["GetAmiFilterArgs"].required == ("name", "values")


def test_a_misspelt_input_gets_a_suggestion() -> None:
    found = reasons("aws:ec2/vpc:Vpc", cidrblock="10.0.0.0/16")

    assert "did you mean 'cidrBlock'" in found["cidrblock"]


@pytest.mark.parametrize(
    ("inputs", "property"),
    [
        ({"subnetId": ["a"]}, "subnetId"),
        ({"monitoring": "perhaps"}, "monitoring"),
        ({"cpuOptions": {"coreCount": 1.5}}, "cpuOptions.coreCount"),
        ({"tags": ["a"]}, "tags"),
        ({"tags": {"a": {"b": "c"}}}, "tags.a"),
        ({"vpcSecurityGroupIds": "sg-1"}, "vpcSecurityGroupIds"),
        ({"ebsBlockDevices": [{"volumeSize": 10}]}, "ebsBlockDevices[0].deviceName"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_by_its_path(
    inputs: dict[str, Any], property: str
) -> None:
    assert list(reasons("aws:ec2/instance:Instance", **inputs)) == [property]


def test_values_that_providers_convert_and_unknown_ones_pass() -> None:
    assert not reasons(
        "aws:ec2/instance:Instance",
        monitoring="true",
        hostId=7,
        subnetId=wire.UNKNOWN,
        rootBlockDevice={"volumeSize": "20"},
        tags={"a": wire.UNKNOWN},
    )
    assert not reasons(
        "aws:s3/bucketObjectv2:BucketObjectv2", bucket="b", source=Asset(text="content")
    )


def test_a_message_never_shows_the_value() -> None:
    found = reasons("aws:ec2/instance:Instance", monitoring="a-secret")

    assert "a-secret" not in found["monitoring"]


def test_values_survive_the_way_over_the_wire() -> None:
    values = {
        "text": "a",
        "flag": False,
        "whole": 3,
        "fraction": 1.5,
        "list": [1, "b", []],
        "map": {"a.b": {"c": UNKNOWN_TWICE}},
        "secret": wire.Secret({"inner": wire.Secret("x")}),
        "asset": Asset(text="content", hash="00"),
    }

    assert wire.decode(wire.encode(values)) == values
    assert wire.has_unknown(values)
    assert wire.reveal(values["secret"]) == {"inner": "x"}


UNKNOWN_TWICE = [wire.UNKNOWN, wire.UNKNOWN]
