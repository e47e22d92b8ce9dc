"""The policies of DNS keys: which actions on which resources, under which conditions."""

from __future__ import annotations

import json
from typing import Any

from mesh import permissions


def granted(document: str) -> dict[str, Any]:
    """Each allowed action with its resource, whichever cloud's spelling it is in."""
    found = {}
    for entry in {k.lower(): v for k, v in json.loads(document).items()}["statement"]:
        statement = {key.lower(): value for key, value in entry.items()}
        assert statement["effect"].lower() == "allow"
        actions, resource = statement["action"], statement["resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            (found[action],) = [resource] if isinstance(resource, str) else resource
    return found


def test_alidns_keys_reach_the_records_of_one_domain() -> None:
    domain = "acs:alidns:*:*:domain/ops.example.com"

    assert granted(permissions.alidns("ops.example.com")) == {
        "alidns:AddDomainRecord": domain,
        "alidns:DeleteDomainRecord": domain,
        "alidns:DescribeDomainRecords": domain,
        "alidns:DescribeDomains": "*",
    }


def test_dnspod_keys_reach_the_records_of_one_domain() -> None:
    domain = "qcs::dnspod::uin/100000000001:domain/77"

    assert granted(permissions.dnspod("100000000001", "77")) == {
        "dnspod:CreateRecord": domain,
        "dnspod:DeleteRecord": domain,
        "dnspod:DescribeRecordList": domain,
        "dnspod:DescribeDomainList": "*",
    }


def test_route53_keys_reach_one_hosted_zone() -> None:
    zone = "arn:aws:route53:::hostedzone/Z1"

    assert granted(permissions.route53("Z1")) == {
        "route53:ChangeResourceRecordSets": zone,
        "route53:ListResourceRecordSets": zone,
        "route53:GetChange": "arn:aws:route53:::change/*",
        "route53:ListHostedZonesByName": "*",
    }


def test_route53_keys_change_the_text_of_challenges_only() -> None:
    change, *others = json.loads(permissions.route53("Z1"))["Statement"]

    assert change["Condition"] == {
        "ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": ["TXT"]},
        "ForAllValues:StringLike": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["_acme-challenge.*"]
        },
    }
    assert not any("Condition" in statement for statement in others)


def test_a_statement_is_written_the_same_every_time() -> None:
    assert permissions.alidns("a.example") == permissions.alidns("a.example"), (
        "a policy that differs in spelling alone would be an update"
    )
