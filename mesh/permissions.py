"""What a host may do at the DNS service: prove that a name is ours (ACME DNS-01), nothing else.

One policy document a cloud, in the cloud's own language. The actions are those that lego calls
for its provider; a release that calls more fails with the service's "forbidden".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

_CHALLENGES: Final = "_acme-challenge.*"  # the names of RFC 8555, 8.4
_ALIDNS_RECORDS: Final = ("AddDomainRecord", "DeleteDomainRecord", "DescribeDomainRecords")
_DNSPOD_RECORDS: Final = ("CreateRecord", "DeleteRecord", "DescribeRecordList")


def alidns(zone: str) -> str:
    """A RAM policy for the records of one domain.

    RAM knows neither types nor names of records: the key may change every record of the domain.
    The list of domains is granted whole or not at all, and shows the account's other domains.
    """
    domain = f"acs:alidns:*:*:domain/{zone}"
    statements = [_ram(_ALIDNS_RECORDS, domain), _ram(("DescribeDomains",), "*")]
    return json.dumps({"Version": "1", "Statement": statements})


def dnspod(owner: str, domain_id: str) -> str:
    """A CAM policy for the records of one domain.

    `owner` is the account (its "uin"); DNSPod's resources bear the domain's number, not its name.
    CAM knows neither types nor names of records: the key may change every record of the domain.
    The list of domains is granted whole, and shows the account's other domains.
    """
    domain = f"qcs::dnspod::uin/{owner}:domain/{domain_id}"
    statements = [_cam(_DNSPOD_RECORDS, domain), _cam(("DescribeDomainList",), "*")]
    return json.dumps({"version": "2.0", "statement": statements})


def route53(zone_id: str) -> str:
    """An IAM policy for the challenges' TXT records of one hosted zone: no other name or type."""
    zone = f"arn:aws:route53:::hostedzone/{zone_id}"
    only_challenges = {
        "ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": ["TXT"]},
        "ForAllValues:StringLike": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [_CHALLENGES]
        },
    }
    statements = [
        {**_iam("ChangeResourceRecordSets", zone), "Condition": only_challenges},
        _iam("ListResourceRecordSets", zone),
        _iam("GetChange", "arn:aws:route53:::change/*"),
        _iam("ListHostedZonesByName", "*"),  # has no resource to name
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _ram(actions: tuple[str, ...], resource: str) -> Mapping[str, Any]:
    named = [f"alidns:{action}" for action in actions]
    return {"Effect": "Allow", "Action": named, "Resource": resource}


def _cam(actions: tuple[str, ...], resource: str) -> Mapping[str, Any]:
    named = [f"dnspod:{action}" for action in actions]
    return {"effect": "allow", "action": named, "resource": [resource]}


def _iam(action: str, resource: str) -> Mapping[str, Any]:
    return {"Effect": "Allow", "Action": f"route53:{action}", "Resource": resource}
