"""The lab's DNS APIs without a network: signatures, policies, what each call does and refuses.

That lego gets on with them is in tests/lab/test_world_dns_apis.py.
"""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dns.message
import dns.rcode
import pytest

from lab.world import publish
from lab.world.model import AccessKey, Model, Part, Record
from lab.world.services.dnsapi import alidns, dnspod, policies, route53, signatures
from lab.world.services.dnsapi.book import Book
from lab.world.services.dnsapi.call import Call
from lab.world.services.nameserver import Source
from lab.world.state import State
from mesh import permissions

EMPTY = hashlib.sha256(b"").hexdigest()
SECRET = "a-secret"
ZONE, OTHER = "ops.example.com", "other.example.com"
CHALLENGE = f"_acme-challenge.hs.{ZONE}"


# Signatures: each service's own published example


def test_aws_signs_as_its_test_suite_does() -> None:
    call = Call(
        method="GET",
        host="example.amazonaws.com",
        path="/",
        headers={"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"},
    )
    header = (
        "AWS4-HMAC-SHA256 "
        "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )
    given = signatures.read(header)

    assert given is not None
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    assert signatures.is_signed(call, given, secret, ("host", "x-amz-date"))
    assert not signatures.is_signed(call, given, secret + "x", ())


def test_tencent_signs_as_its_documentation_does() -> None:
    body = (
        '{"Limit": 1, "Filters": [{"Values": ["\\u672a\\u547d\\u540d"], "Name": "instance-name"}]}'
    )
    call = Call(
        method="POST",
        host="cvm.tencentcloudapi.com",
        path="/",
        headers={
            "content-type": "application/json; charset=utf-8",
            "host": "cvm.tencentcloudapi.com",
            "x-tc-timestamp": "1551113065",
        },
        body=body.encode(),
    )
    header = (
        "TC3-HMAC-SHA256 Credential=AKID/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
    )
    given = signatures.read(header)

    assert given is not None
    assert signatures.sign(call, given, "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE") == given.signature


def test_alibaba_signs_as_its_documentation_does() -> None:
    image = "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"
    headers = {
        "host": "ecs.cn-shanghai.aliyuncs.com",
        "x-acs-action": "RunInstances",
        "x-acs-content-sha256": EMPTY,
        "x-acs-date": "2023-10-26T10:22:32Z",
        "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
        "x-acs-version": "2014-05-26",
    }
    call = Call(
        method="POST",
        host="ecs.cn-shanghai.aliyuncs.com",
        path="/",
        query=urlencode({"RegionId": "cn-shanghai", "ImageId": image}),
        headers=headers,
    )
    header = (
        f"ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders={';'.join(headers)},"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )
    given = signatures.read(header)

    assert given is not None
    assert signatures.sign(call, given, "YourAccessKeySecret") == given.signature


def test_headers_that_must_be_signed_are_demanded() -> None:
    call = Call(method="GET", host="a", path="/", headers={"host": "a"})
    given = signatures.Authorization(signatures.ACS3, "id", (), ("host",), "")
    signed = signatures.Authorization(
        signatures.ACS3, "id", (), ("host",), signatures.sign(call, given, SECRET)
    )

    assert signatures.is_signed(call, signed, SECRET, ("host",))
    assert not signatures.is_signed(call, signed, SECRET, ("host", "x-acs-date"))


@pytest.mark.parametrize("header", ["", "Basic abc", "AWS4-HMAC-SHA256 Credential=a/b"])
def test_a_header_of_another_form_is_no_authorization(header: str) -> None:
    assert signatures.read(header) is None


# Policies


def allows(effect: str, action: Any, resource: Any, **more: Any) -> str:
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "1", "Statement": [statement]})


@pytest.mark.parametrize(
    ("document", "allowed"),
    [
        (allows("Allow", "dns:Add", "zone/a"), True),
        (allows("Allow", ["dns:Get", "dns:A*"], ["zone/b", "zone/?"]), True),
        (allows("Allow", "DNS:add", "*"), True),
        (allows("Allow", "dns:Add", "zone/A"), False),
        (allows("Allow", "dns:Add", "zone"), False),
        (allows("Allow", "dns:Delete", "zone/a"), False),
        (allows("Deny", "dns:Add", "zone/a"), False),
        (allows("Allow", "dns:Add", "zone/a", Condition={"Bool": {"a": "b"}}), False),
    ],
)
def test_a_policy_allows_what_its_statements_name(document: str, allowed: bool) -> None:
    assert policies.allows([document], "dns:Add", "zone/a") is allowed


def test_nothing_is_allowed_without_a_policy() -> None:
    assert not policies.allows([], "dns:Add", "zone/a")


def test_a_refusal_outweighs_every_permission() -> None:
    both = [allows("Allow", "*", "*"), allows("Deny", "dns:Add", "zone/a")]

    assert not policies.allows(both, "dns:Add", "zone/a")
    assert policies.allows(both, "dns:Add", "zone/b")


@pytest.mark.parametrize(
    ("types", "names", "allowed"),
    [
        (["TXT"], ["_acme-challenge.hs.example"], True),
        (["TXT", "TXT"], ["_acme-challenge.a.example", "_acme-challenge.b.example"], True),
        (["TXT", "A"], ["_acme-challenge.a.example", "_acme-challenge.b.example"], False),
        (["A"], ["_acme-challenge.hs.example"], False),
        (["TXT"], ["hs.example"], False),
        (["TXT", "TXT"], ["_acme-challenge.a.example", "hs.example"], False),
    ],
)
def test_the_conditions_of_route53_speak_of_every_change(
    types: list[str], names: list[str], allowed: bool
) -> None:
    action = "route53:ChangeResourceRecordSets"
    context = {f"{action}RecordTypes": types, f"{action}NormalizedRecordNames": names}
    zone = "arn:aws:route53:::hostedzone/Z1"

    assert policies.allows([permissions.route53("Z1")], action, zone, context) is allowed


# Calls


class Api:
    """One of the APIs over a state folder, called with a good signature."""

    def __init__(self, module: Any, state: State, key: AccessKey, ids: Mapping[str, str]) -> None:
        self.module = module
        self.key = key
        self.ids = ids
        self.book = Book(state, module.OWNER)

    def call(self, call: Call, algorithm: str, scope: tuple[str, ...]) -> str:
        """The text of the answer to a call that is signed with all its headers."""
        names = tuple(sorted(call.headers))
        given = signatures.Authorization(algorithm, self.key.id, scope, names, "")
        credential = "/".join((self.key.id, *scope))
        signature = signatures.sign(call, given, self.key.secret)
        header = (
            f"{algorithm} Credential={credential}, SignedHeaders={';'.join(names)}, "
            f"Signature={signature}"
        )
        signed = Call(**{**vars(call), "headers": {**call.headers, "authorization": header}})
        text: str = self.module.answer(signed, self.book).text
        return text

    def alidns(self, action: str, **given: Any) -> dict[str, Any]:
        headers = {
            "host": alidns.HOST,
            "x-acs-action": action,
            "x-acs-content-sha256": EMPTY,
            "x-acs-date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-version": "2015-01-09",
        }
        query = urlencode(given)
        call = Call(method="POST", host=alidns.HOST, path="/", query=query, headers=headers)
        found: dict[str, Any] = json.loads(self.call(call, signatures.ACS3, ()))
        return found

    def dnspod(self, action: str, **given: Any) -> dict[str, Any]:
        now = datetime.now(UTC)
        headers = {
            "host": dnspod.HOST,
            "content-type": "application/json",
            "x-tc-action": action,
            "x-tc-version": "2021-03-23",
            "x-tc-timestamp": str(int(now.timestamp())),
        }
        body = json.dumps(given).encode()
        call = Call(method="POST", host=dnspod.HOST, path="/", headers=headers, body=body)
        scope = (now.strftime("%Y-%m-%d"), "dnspod", "tc3_request")
        found: dict[str, Any] = json.loads(self.call(call, signatures.TC3, scope))["Response"]
        return found

    def route53(self, method: str, path: str, body: str = "") -> ET.Element:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": route53.HOST, "x-amz-date": now}
        whole, _, query = path.partition("?")
        call = Call(
            method=method,
            host=route53.HOST,
            path=f"/2013-04-01/{whole}",
            query=query,
            headers=headers,
            body=body.encode(),
        )
        scope = (now[:8], "us-east-1", "route53", "aws4_request")
        return ET.fromstring(self.call(call, signatures.AWS4, scope))

    def change(self, action: str, name: str, kind: str, value: str) -> str:
        """The tag of Route 53's answer to one change, or the error's code or message."""
        record = f"<ResourceRecord><Value>{value}</Value></ResourceRecord>"
        body = (
            f'<R xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes>'
            f"<Change><Action>{action}</Action><ResourceRecordSet><Name>{name}.</Name>"
            f"<Type>{kind}</Type><TTL>10</TTL><ResourceRecords>{record}</ResourceRecords>"
            f"</ResourceRecordSet></Change></Changes></ChangeBatch></R>"
        )
        answer = self.route53("POST", f"hostedzone/{self.ids[ZONE]}/rrset/", body)
        said = [e.text or "" for e in answer.iter() if e.tag.endswith(("}Code", "}Message"))]
        return said[0] if said else answer.tag.partition("}")[2]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def api(module: Any, state: State, document: str) -> Api:
    """The API of a cloud with two zones, one declared record, and a key of the policy."""
    key = AccessKey(id="ID", secret=SECRET, user="acme", account="1", policies=(document,))
    declared = Record(name=f"hs.{ZONE}", type="A", value="192.0.2.1", zone=ZONE)
    ids = {ZONE: "71", OTHER: "72"}
    part = Part(zones=(ZONE, OTHER), records=(declared,), zone_ids=ids, access_keys=(key,))
    publish.publish(state, Model({module.OWNER: part}))
    return Api(module, state, key, ids)


@pytest.fixture
def ali(state: State) -> Api:
    return api(alidns, state, permissions.alidns(ZONE))


@pytest.fixture
def pod(state: State) -> Api:
    return api(dnspod, state, permissions.dnspod("1", "71"))


@pytest.fixture
def aws(state: State) -> Api:
    return api(route53, state, permissions.route53("71"))


def answered(state: State, name: str = CHALLENGE) -> list[str] | None:
    """The name server's texts for a name; None when there is no such name."""
    answer = Source(state.names, state.dns_live).names().answer(dns.message.make_query(name, "TXT"))
    if answer.rcode() == dns.rcode.NXDOMAIN:
        return None
    return sorted(item.to_text().strip('"') for rrset in answer.answer for item in rrset)


def test_alidns_adds_lists_and_deletes_a_text(ali: Api, state: State) -> None:
    text = {"DomainName": ZONE, "RR": "_acme-challenge.hs", "Type": "TXT", "Value": "proof"}

    id = ali.alidns("AddDomainRecord", **text)["RecordId"]
    listed = ali.alidns("DescribeDomainRecords", DomainName=ZONE)["DomainRecords"]["Record"]
    during = answered(state)
    ali.alidns("DeleteDomainRecord", RecordId=id)

    assert [(r["RR"], r["Type"], r["Value"]) for r in listed] == [
        ("hs", "A", "192.0.2.1"),
        ("_acme-challenge.hs", "TXT", "proof"),
    ]
    assert (during, answered(state)) == (["proof"], None)


def test_alidns_lists_domains_in_pages(ali: Api) -> None:
    page = ali.alidns("DescribeDomains", PageSize=1, PageNumber=2)

    assert (page["TotalCount"], page["PageNumber"], page["PageSize"]) == (2, 2, 1)
    assert [domain["DomainName"] for domain in page["Domains"]["Domain"]] == [OTHER]


def test_alidns_refuses_a_second_record_that_says_the_same(ali: Api) -> None:
    text = {"DomainName": ZONE, "RR": "a", "Type": "TXT", "Value": "proof"}
    ali.alidns("AddDomainRecord", **text)

    assert ali.alidns("AddDomainRecord", **text)["Code"] == "DomainRecordDuplicate"


@pytest.mark.parametrize("action", ["UpdateDomainRecord", "DeleteDomain"])
def test_alidns_knows_only_what_acme_clients_call(ali: Api, action: str) -> None:
    assert ali.alidns(action)["Code"] == "InvalidAction.NotFound"


def test_dnspod_creates_lists_and_deletes_a_text(pod: Api, state: State) -> None:
    given = {"DomainId": 71, "RecordType": "TXT", "RecordLine": "默认", "Value": "proof"}

    id = pod.dnspod("CreateRecord", SubDomain="_acme-challenge.hs", **given)["RecordId"]
    where = {"Domain": ZONE, "Subdomain": "_acme-challenge.hs", "RecordType": "TXT"}
    listed = pod.dnspod("DescribeRecordList", **where)["RecordList"]
    during = answered(state)
    pod.dnspod("DeleteRecord", Domain=ZONE, RecordId=id)
    empty = pod.dnspod("DescribeRecordList", **where)

    assert [(r["RecordId"], r["Value"]) for r in listed] == [(id, "proof")]
    assert (during, answered(state)) == (["proof"], None)
    assert empty["Error"]["Code"] == "ResourceNotFound.NoDataOfRecord"


def test_dnspod_takes_the_number_of_a_domain_before_its_name(pod: Api) -> None:
    said = pod.dnspod("DescribeRecordList", Domain=ZONE, DomainId=72)

    assert said["Error"]["Code"] == "AuthFailure.UnauthorizedOperation"


def test_route53_upserts_lists_and_deletes_a_text(aws: Api, state: State) -> None:
    upserted = aws.change("UPSERT", CHALLENGE, "TXT", '"proof"')
    listed = aws.route53("GET", f"hostedzone/71/rrset?name={CHALLENGE}.&type=TXT")
    during = answered(state)
    deleted = aws.change("DELETE", CHALLENGE, "TXT", '"proof"')

    assert upserted == deleted == "ChangeResourceRecordSetsResponse"
    values = [item.text for item in listed.iter() if item.tag.endswith("}Value")]
    assert values[0] == '"proof"'
    assert (during, answered(state)) == (["proof"], None)


def test_route53_replaces_all_values_of_a_name(aws: Api, state: State) -> None:
    aws.change("UPSERT", CHALLENGE, "TXT", '"one"')
    aws.change("UPSERT", CHALLENGE, "TXT", '"two"')

    assert answered(state) == ["two"]


def test_route53_deletes_only_what_is_there(aws: Api) -> None:
    assert "not found" in aws.change("DELETE", CHALLENGE, "TXT", '"proof"')


@pytest.mark.parametrize(
    ("name", "kind", "value"), [(CHALLENGE, "A", "192.0.2.7"), (f"hs.{ZONE}", "TXT", '"x"')]
)
def test_route53_refuses_what_the_conditions_exclude(
    aws: Api, name: str, kind: str, value: str
) -> None:
    assert aws.change("UPSERT", name, kind, value) == "AccessDenied"


def test_route53_wants_texts_in_quotes(aws: Api) -> None:
    assert "quotation marks" in aws.change("UPSERT", CHALLENGE, "TXT", "bare")


# The name server


def test_live_records_outlast_a_new_declaration(ali: Api, state: State) -> None:
    ali.alidns("AddDomainRecord", DomainName=ZONE, RR="a", Type="TXT", Value="proof")
    part = Part(zones=(ZONE,), zone_ids={ZONE: "71"})

    publish.publish(state, Model({"alicloud": part}))

    assert answered(state, f"a.{ZONE}") == ["proof"]


def test_live_records_go_with_their_zone(ali: Api, state: State) -> None:
    ali.alidns("AddDomainRecord", DomainName=ZONE, RR="a", Type="TXT", Value="proof")

    publish.publish(state, Model({}))

    assert answered(state, f"a.{ZONE}") is None


def test_the_authority_of_a_zone_has_an_address(ali: Api, state: State) -> None:
    names = Source(state.names, state.dns_live).names()
    (authority,) = names.answer(dns.message.make_query(ZONE, "NS")).answer
    server = str(authority[0].target)

    assert names.answer(dns.message.make_query(server, "A")).answer, (
        "who checks that a record has spread asks the zone's own server"
    )


def test_what_has_secrets_is_readable_by_its_owner_only(ali: Api, state: State) -> None:
    assert state.dns_api.stat().st_mode & 0o777 == 0o600


ASK: Mapping[str, Callable[[Api], str]] = {
    "ali": lambda api: str(api.alidns("DescribeDomains")["Code"]),
    "pod": lambda api: str(api.dnspod("DescribeDomainList")["Error"]["Code"]),
    "aws": lambda api: api.change("UPSERT", CHALLENGE, "TXT", '"proof"'),
}


@pytest.mark.parametrize(
    ("which", "change", "code"),
    [
        ("ali", {"secret": "wrong"}, "SignatureDoesNotMatch"),
        ("ali", {"id": "UNKNOWN"}, "InvalidAccessKeyId.NotFound"),
        ("pod", {"secret": "wrong"}, "AuthFailure.SignatureFailure"),
        ("pod", {"id": "UNKNOWN"}, "AuthFailure.SecretIdNotFound"),
        ("aws", {"secret": "wrong"}, "SignatureDoesNotMatch"),
        ("aws", {"id": "UNKNOWN"}, "InvalidClientTokenId"),
    ],
)
def test_without_the_key_the_service_says_why(
    which: str, change: dict[str, Any], code: str, request: pytest.FixtureRequest
) -> None:
    found: Api = request.getfixturevalue(which)
    found.key = replace(found.key, **change)

    assert ASK[which](found) == code


@pytest.mark.parametrize(
    ("which", "code"),
    [
        ("ali", "InvalidAccessKeyId.Inactive"),
        ("pod", "AuthFailure.SecretIdNotFound"),
        ("aws", "InvalidClientTokenId"),
    ],
)
def test_a_key_that_is_switched_off_opens_nothing(
    which: str, code: str, state: State, request: pytest.FixtureRequest
) -> None:
    found: Api = request.getfixturevalue(which)
    off = Part(zone_ids=found.ids, access_keys=(replace(found.key, active=False),))
    publish.publish(state, Model({found.module.OWNER: off}))

    assert ASK[which](found) == code
