"""Answers of the name server: a pure function of the records and a question.

The lab's one server is authoritative for every zone the clouds hold and the resolver of every
host; a name outside the zones and the lab's own does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from lab.world.model import Record

SERVER: Final = "ns.lab"  # clients that ask the authority itself look it up
_NEGATIVE_SECONDS: Final = 1  # how long resolvers may remember that a name is missing
_ALIASES: Final = 8  # longest chain of CNAMEs that is followed


@dataclass(frozen=True)
class Names:
    """Every record the lab's server knows, by name and type."""

    sets: dict[dns.name.Name, dict[dns.rdatatype.RdataType, dns.rrset.RRset]]
    zones: frozenset[dns.name.Name] = field(default_factory=frozenset)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The reply to a query of one question."""
        reply = dns.message.make_response(query, recursion_available=True)
        if len(query.question) != 1:
            reply.set_rcode(dns.rcode.FORMERR)
            return reply
        asked = query.question[0]
        zone = self._zone(asked.name)
        if zone is not None:
            reply.flags |= dns.flags.AA
        found = self._resolve(asked.name, asked.rdtype, reply.answer)
        if not reply.answer:
            reply.set_rcode(dns.rcode.NOERROR if found else dns.rcode.NXDOMAIN)
            reply.authority.append(_soa(zone or dns.name.root))
        return reply

    def _resolve(
        self,
        name: dns.name.Name,
        kind: dns.rdatatype.RdataType,
        answer: list[dns.rrset.RRset],
    ) -> bool:
        """Append what answers the question; False when the name does not exist at all."""
        for _ in range(_ALIASES):
            known = self._lookup(name)
            if known is None:
                return False
            wanted = [known[kind]] if kind in known else []
            if kind == dns.rdatatype.ANY:
                wanted = list(known.values())
            answer.extend(_named(rrset, name) for rrset in wanted)
            alias = known.get(dns.rdatatype.CNAME)
            if wanted or alias is None:
                return True
            answer.append(_named(alias, name))
            name = alias[0].target
        return True

    def _lookup(self, name: dns.name.Name) -> dict[dns.rdatatype.RdataType, dns.rrset.RRset] | None:
        """The records of a name, of the wildcard that covers it, or none for a name with names
        below it.
        """
        if name in self.zones:
            return {**_apex(name), **self.sets.get(name, {})}
        if name in self.sets:
            return self.sets[name]
        if self._exists(name):
            return {}
        above = name
        while above != dns.name.root:
            above = above.parent()
            wildcard = self.sets.get(dns.name.Name([b"*", *above.labels]))
            if wildcard is not None:
                return wildcard
            if self._exists(above):
                return None  # the closest name that exists ends the search (RFC 4592)
        return None

    def _exists(self, name: dns.name.Name) -> bool:
        """Whether the name has records, or names below it have."""
        return name in self.zones or any(known.is_subdomain(name) for known in self.sets)

    def _zone(self, name: dns.name.Name) -> dns.name.Name | None:
        above = [zone for zone in self.zones if name.is_subdomain(zone)]
        return max(above, key=len, default=None)


def build(records: Iterable[Record], zones: Iterable[str] = ()) -> Names:
    """The server's answers for these records; dns.exception.DNSException on a bad value."""
    sets: dict[dns.name.Name, dict[dns.rdatatype.RdataType, dns.rrset.RRset]] = {}
    apexes = {dns.name.from_text(zone) for zone in zones}
    for record in records:
        name, kind = dns.name.from_text(record.name), dns.rdatatype.from_text(record.type)
        kinds = sets.setdefault(name, {})
        rrset = kinds.setdefault(kind, dns.rrset.RRset(name, dns.rdataclass.IN, kind))
        rrset.add(_rdata(kind, record.value), ttl=record.ttl)
        if record.zone:
            apexes.add(dns.name.from_text(record.zone))
    return Names(sets, frozenset(apexes))


def _rdata(kind: dns.rdatatype.RdataType, value: str) -> dns.rdata.Rdata:
    if kind == dns.rdatatype.TXT:  # any text, in pieces of 255 bytes
        data = value.encode()
        parts = [data[start : start + 255] for start in range(0, len(data), 255)] or [b""]
        return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, kind, parts)
    root = dns.name.root
    return dns.rdata.from_text(dns.rdataclass.IN, kind, value, origin=root, relativize=False)


def _named(rrset: dns.rrset.RRset, name: dns.name.Name) -> dns.rrset.RRset:
    """A copy of the set under the name that was asked for, as a wildcard needs."""
    return dns.rrset.from_rdata_list(name, rrset.ttl, list(rrset))


def _apex(zone: dns.name.Name) -> dict[dns.rdatatype.RdataType, dns.rrset.RRset]:
    servers = dns.rrset.from_text(zone, 86400, "IN", "NS", f"{SERVER}.")
    return {dns.rdatatype.SOA: _soa(zone), dns.rdatatype.NS: servers}


def _soa(zone: dns.name.Name) -> dns.rrset.RRset:
    timers = f"1 3600 600 86400 {_NEGATIVE_SECONDS}"
    value = f"{SERVER}. hostmaster.lab. {timers}"
    return dns.rrset.from_text(zone, _NEGATIVE_SECONDS, "IN", "SOA", value)


def own(names: Sequence[str], address: str) -> list[Record]:
    """Records of the lab's own services."""
    return [Record(name=name, type="A", value=address, ttl=60) for name in names]
