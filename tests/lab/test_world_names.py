"""Answers of the name server: pure, from records and a question."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import pytest

from lab.world import zone
from lab.world.model import Record

_NAMES = zone.build(
    [
        Record(name="example.com", type="MX", value="10 mail.example.com", zone="example.com"),
        Record(name="hs.example.com", type="A", value="198.18.0.1", zone="example.com"),
        Record(name="hs.example.com", type="A", value="198.18.0.2", zone="example.com"),
        Record(name="www.example.com", type="CNAME", value="hs.example.com", zone="example.com"),
        Record(name="*.example.com", type="A", value="198.18.0.9", zone="example.com"),
        Record(name="a.deep.example.com", type="A", value="198.18.0.3", zone="example.com"),
        Record(name="archive.test", type="A", value="198.18.255.80"),
    ]
)


def ask(name: str, kind: str = "A") -> dns.message.Message:
    """The reply to one question."""
    return _NAMES.answer(dns.message.make_query(name, kind))


def values(reply: dns.message.Message) -> list[str]:
    """The data of all answers, as text."""
    return sorted(str(item) for rrset in reply.answer for item in rrset)


def test_all_values_of_a_name_are_answered() -> None:
    assert values(ask("hs.example.com")) == ["198.18.0.1", "198.18.0.2"]


def test_case_does_not_matter() -> None:
    assert values(ask("HS.Example.COM")) == ["198.18.0.1", "198.18.0.2"]


def test_an_alias_is_answered_with_what_it_leads_to() -> None:
    assert values(ask("www.example.com")) == ["198.18.0.1", "198.18.0.2", "hs.example.com."]


def test_an_alias_itself_can_be_asked_for() -> None:
    assert values(ask("www.example.com", "CNAME")) == ["hs.example.com."]


def test_a_wildcard_answers_under_the_name_that_was_asked() -> None:
    (rrset,) = ask("any.example.com").answer

    assert str(rrset.name) == "any.example.com."


@pytest.mark.parametrize("name", ["x.hs.example.com", "b.deep.example.com"])
def test_a_wildcard_does_not_reach_below_names_that_exist(name: str) -> None:
    assert ask(name).rcode() == dns.rcode.NXDOMAIN


def test_a_name_between_others_exists_without_data() -> None:
    reply = ask("deep.example.com")

    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


def test_a_missing_type_is_no_missing_name() -> None:
    reply = ask("hs.example.com", "AAAA")

    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


def test_a_zone_names_its_authority() -> None:
    assert values(ask("example.com", "SOA")) and values(ask("example.com", "NS"))


def test_a_zones_answers_are_authoritative() -> None:
    assert ask("hs.example.com").flags & dns.flags.AA
    assert not ask("archive.test").flags & dns.flags.AA


def test_names_outside_every_zone_do_not_exist() -> None:
    assert ask("www.iana.org").rcode() == dns.rcode.NXDOMAIN


def test_a_missing_name_is_forgotten_after_a_second() -> None:
    (soa,) = ask("x.hs.example.com").authority

    assert soa.ttl == soa[0].minimum == 1, "hosts would not see a record that is made later"
