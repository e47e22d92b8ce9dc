"""Covers what a stack file may say about names inside the mesh, and what hosts make of it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from mesh import headscale, settings
from mesh.roles import records
from tests import bundles, stacks
from tests.bad_values import BadValue

BAD_VALUES: Final = (
    BadValue("an alias by its type", "magic_dns.extra_records",
             {"gitlab": {"type": "CNAME", "value": "prod-gitlab-bj-001"}},
             ("mesh:magic_dns.extra_records.gitlab", "'CNAME'", "drop every record but A and AAAA",
              "name the node")),
    BadValue("records in Headscale's own form", "magic_dns.extra_records",
             [{"name": "gitlab", "type": "CNAME", "value": "prod-gitlab-bj-001"}],
             ("mesh:magic_dns.extra_records", "NAME: TARGET", "CNAME", "name the node")),
    BadValue("a record with two addresses of a family", "magic_dns.extra_records",
             {"grafana": ["100.64.2.10", "100.64.2.11"]},
             ("mesh:magic_dns.extra_records.grafana", "100.64.2.11", "one IPv4 and one IPv6")),
    BadValue("a record that leads to each client itself", "magic_dns.extra_records",
             {"grafana": "127.0.0.1"},
             ("mesh:magic_dns.extra_records.grafana", "'127.0.0.1'", "address of one host")),
    BadValue("a record with half an address", "magic_dns.extra_records", {"grafana": "100.64.2"},
             ("mesh:magic_dns.extra_records.grafana", "'100.64.2'", "the name of a node")),
    BadValue("a record whose name is none", "magic_dns.extra_records",
             {"*.apps": "100.64.2.10"},
             ("mesh:magic_dns.extra_records.*.apps: '*.apps'", "lower-case DNS name")),
    BadValue("a record that hides the server", "magic_dns.extra_records",
             {"hs.ops.company.com": "100.64.2.10"},
             ("mesh:magic_dns.extra_records.hs.ops.company.com", "public name")),
    BadValue("a record twice", "magic_dns.extra_records",
             {"grafana": "100.64.2.10", "grafana.ts.company.local": "100.64.2.11"},
             ("mesh:magic_dns.extra_records.grafana.ts.company.local", "'grafana'", "remove one")),
    BadValue("a resolver with a port", "magic_dns.nameservers", ["10.0.0.1:5353"],
             ("mesh:magic_dns.nameservers[0]", "'10.0.0.1:5353'", "without a port")),
    BadValue("a resolver that clients do not know", "magic_dns.nameservers",
             ["https://dns.alidns.com/dns-query"],
             ("mesh:magic_dns.nameservers[0]", "'https://dns.alidns.com/dns-query'", "dns.google")),
    BadValue("the clients' own resolver", "magic_dns.split",
             {"company.internal": ["100.100.100.100"]},
             ("mesh:magic_dns.split.company.internal[0]", "'100.100.100.100'", "ask itself")),
    BadValue("a domain without a resolver", "magic_dns.split", {"company.internal": []},
             ("mesh:magic_dns.split.company.internal", "[]", "at least 1")),
    BadValue("a domain that is none", "magic_dns.split", {"Company": ["10.0.0.1"]},
             ("mesh:magic_dns.split.Company", "'Company'", "lower-case DNS name")),
    BadValue("the mesh's own domain elsewhere", "magic_dns.split",
             {"ts.company.local": ["10.0.0.1"]},
             ("mesh:magic_dns.split.ts.company.local", "clients answer themselves")),
)  # fmt: skip
BOTH: Final = ["100.64.2.10", "fd7a:115c:a1e0::20a"]


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: bad.title)
def test_a_bad_value_is_refused_with_key_value_and_remedy(bad: BadValue) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        stacks.load("prod", {bad.path: bad.value})

    told = str(refused.value)
    missing = [words for words in bad.says if words not in told]
    assert not missing, told


def configuration(extra: dict[str, Any]) -> dict[str, Any]:
    """What a control host keeps in its file, for these extra records."""
    return records.configuration(stacks.load("prod", {"magic_dns.extra_records": extra}).magic_dns)


def test_a_short_name_is_one_of_the_base_domain_and_a_whole_name_stays() -> None:
    made = configuration({"grafana": "100.64.2.10", "jira.company.com": "100.64.2.10"})

    assert [record["name"] for record in made["fixed"]] == [
        "grafana.ts.company.local",
        "jira.company.com",
    ]


def test_an_address_of_each_family_has_a_record_of_its_type() -> None:
    made = configuration({"grafana": BOTH})

    assert [(record["type"], record["value"]) for record in made["fixed"]] == [
        ("A", "100.64.2.10"),
        ("AAAA", "fd7a:115c:a1e0::20a"),
    ]


@pytest.mark.parametrize("target", ["prod-gitlab-bj-001", {"node": "prod-gitlab-bj-001"}])
def test_a_node_is_named_plainly_or_as_such(target: object) -> None:
    made = configuration({"gitlab": target})

    assert made["fixed"] == []
    assert made["nodes"] == {"gitlab.ts.company.local": "prod-gitlab-bj-001"}


def test_the_records_of_the_plan_are_in_the_stack_of_production() -> None:
    dns = stacks.load("prod").magic_dns

    assert list(dns.extra_records) == ["grafana", "prometheus", "jenkins", "gitlab"]
    assert dns.records["gitlab.ts.company.local"].node == "prod-gitlab-bj-001"
    assert dns.split["alibaba-inc.com"] == ("100.100.2.136", "100.100.2.138")


@pytest.mark.parametrize(
    "resolver",
    ["10.0.0.1", "2400:3200::1", "https://dns.google/dns-query", "https://dns.nextdns.io/c3a884"],
)
def test_a_resolver_is_passed_on_as_it_is(resolver: str) -> None:
    dns = stacks.load("prod", {"magic_dns.nameservers": [resolver]}).magic_dns

    assert dns.nameservers == (resolver,)


def test_headscale_gets_records_by_one_way_only() -> None:
    config = bundles.files(bundles.build("prod", "hs-1"))[headscale.CONFIG].content

    assert f"extra_records_path: {headscale.EXTRA_RECORDS}" in config
    assert "extra_records:" not in config, "Headscale does not start with both"


def test_the_base_domain_is_not_searched_twice() -> None:
    config = bundles.files(bundles.build("prod", "hs-1"))[headscale.CONFIG].content

    assert "search_domains:\n  - company.local\n" in config, "Headscale puts its own first"


def test_the_file_is_written_before_headscale_is_started() -> None:
    units = [unit.name for unit in bundles.build("prod", "hs-1").units]

    assert units.index(records.SERVICE) < units.index("mesh-guard.service")
    assert records.TIMER in units
