"""Who may reach what, tried with real packets: one client for each role of plan 7.2.

The table here is written from the plan, not computed from policy/policy.hujson.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drills.crowd import PORTS, Crowd, CrowdError, Login, Try
from lab.world.command import until


@dataclass(frozen=True)
class Member:
    """One node: a person's device (`user`) or a server (`tags`)."""

    role: str
    name: str
    user: str = ""
    tags: tuple[str, ...] = ()


CAST: Final = (
    Member("ops-admin", "ops-phone-zhangsan", user="zhangsan"),
    Member("ops-admin", "ops-phone-lisi", user="lisi"),  # who else could reach zhangsan's?
    Member("ops-member", "ops-laptop-wangwu", user="wangwu"),
    Member("dba", "ops-laptop-dba01", user="dba01"),
    Member("dev-senior", "dev-laptop-dev01", user="dev01"),
    Member("dev-junior", "dev-laptop-dev03", user="dev03"),
    Member("qa", "dev-laptop-qa01", user="qa01"),
    Member("web", "prod-web-bj-901", tags=("tag:prod", "tag:web")),
    Member("api", "prod-api-bj-901", tags=("tag:prod", "tag:api")),
    Member("db", "prod-db-bj-901", tags=("tag:prod", "tag:db")),
    Member("cache", "prod-cache-bj-901", tags=("tag:prod", "tag:cache")),
    Member("mq", "prod-mq-bj-901", tags=("tag:prod", "tag:mq")),
    Member("k8s", "prod-k8s-bj-901", tags=("tag:prod", "tag:k8s")),
    Member("k8s", "prod-k8s-bj-902", tags=("tag:prod", "tag:k8s")),
    Member("bastion", "prod-bastion-bj-901", tags=("tag:prod", "tag:bastion")),
    Member("monitoring", "infra-monitoring-bj-901", tags=("tag:monitoring",)),
    Member("dns", "infra-dns-bj-901", tags=("tag:dns",)),
    Member("staging", "staging-app-bj-901", tags=("tag:staging",)),
    Member("testing", "testing-app-bj-901", tags=("tag:testing",)),
    Member("dev", "dev-app-bj-901", tags=("tag:dev",)),
    Member("jenkins", "testing-jenkins-bj-001", tags=("tag:testing", "tag:ci")),
)
NAMES: Final = 53  # the port of name servers
JENKINS: Final = "testing-jenkins-bj-001"
JENKINS_ADDRESS: Final = "100.67.100.1"  # the policy's host jenkins-master

# Every role, then role by role: destinations and ports. What is not here is denied.
ANYONE: Final[Mapping[str, Sequence[int]]] = {"monitoring": (3000, 9090, 9093), "dns": (53,)}
ALLOWED: Final[Mapping[str, Mapping[str, Sequence[int]]]] = {
    "ops-admin": {member.role: PORTS for member in CAST},
    "ops-member": {
        "staging": PORTS,
        "testing": PORTS,
        "jenkins": PORTS,
        "dev": PORTS,
        "bastion": (22,),
    },
    "dba": {"db": (3306, 5432, 6379, 27017), "bastion": (22,)},
    "dev-senior": {"staging": PORTS, "testing": PORTS, "jenkins": PORTS, "dev": PORTS},
    "dev-junior": {"dev": PORTS},
    "qa": {"testing": PORTS, "jenkins": PORTS, "staging": (80, 443, 8080)},
    "web": {"api": (8080, 8443)},
    "api": {"db": (3306, 5432), "cache": (6379,), "mq": (5672, 15672)},
    "k8s": {"k8s": PORTS},
    "jenkins": {"testing": (22, 80, 443, 8080)},
}
# Tailscale SSH: source role, user, and the roles of the servers that let that user in.
_OUTSIDE: Final = ("staging", "testing", "jenkins", "dev")
_SERVERS: Final = tuple(dict.fromkeys(member.role for member in CAST if member.tags))
LOGINS: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("ops-admin", "root"): _SERVERS,
    ("ops-admin", "ubuntu"): _SERVERS,
    ("ops-admin", "nobody"): (),
    ("ops-member", "root"): (),
    ("ops-member", "ubuntu"): _OUTSIDE,
    ("dev-senior", "root"): (),
    ("dev-senior", "ubuntu"): (),
    ("dba", "ubuntu"): (),
}
_NOT_PERMITTED: Final = "policy does not permit"  # what a server tells whom it does not let in
# Of a connection that no packet filter decided. A packet may get lost; and a client without a
# network device closes a connection when another one, to another port, has the same local port
# (its log: "could not register TCP mapping").
_TRIES: Final = 3
_UNDECIDED: Final = ("silent", "refused")
_KNOWN_WITHIN: Final = 60.0  # s until each client knows who it may see


@dataclass(frozen=True)
class Row:
    """One attempt at a connection and what the table says of it."""

    source: Member
    target: Member
    allowed: bool
    done: Try

    @property
    def fault(self) -> str:
        """Nothing when the packets did what the table says; otherwise what they did.

        A denied row must be told of as denied: by the destination's packet filter, or by a
        source that does not know the destination. Silence between two that know each other
        would be a broken network, which proves nothing.
        """
        done = self.done
        here = (self.target.name, self.source.name)
        arrived = done.outcome == "connected" and (done.via, done.origin) == here
        denied = done.outcome == "dropped" or (not done.seen and done.outcome != "connected")
        if arrived if self.allowed else denied:
            return ""
        want = "allowed" if self.allowed else "denied"
        way = f"{self.source.role} → {self.target.role}:{done.port}"
        through = f" via {done.via} from {done.origin}" if done.via or done.origin else ""
        return f"{way} is {want}, but was {done.outcome}{through} {done.said}".rstrip()


@dataclass(frozen=True)
class SshRow:
    """One attempt to log in and what the table says of it."""

    source: Member
    target: Member
    allowed: bool
    done: Login

    @property
    def fault(self) -> str:
        """As `Row.fault`. Denied is who was told so by the server, or may not reach its port."""
        reaches = allowed(self.source, self.target, 22)
        denied = not self.done.got and (not reaches or _NOT_PERMITTED in self.done.said)
        if (self.done.got == self.done.user) if self.allowed else denied:
            return ""
        want = "allowed" if self.allowed else "denied"
        way = f"{self.source.role} → {self.done.user}@{self.target.role}"
        return f"{way} is {want}, but was {self.done.got or 'nobody'}: {self.done.said}"


def allowed(source: Member, target: Member, port: int) -> bool:
    """What the table says."""
    ports = ALLOWED.get(source.role, {}).get(target.role, ())
    return port in ports or port in ANYONE.get(target.role, ())


def await_acquaintance(crowd: Crowd, cast: Sequence[Member] = CAST) -> None:
    """Returns when every client knows the present address of each that the table opens to it;
    DeadlineError.
    """
    missing: list[str] = []

    def settled() -> bool:
        status = crowd.status()
        where = {name: str(found["address"]) for name, found in status.items()}
        missing[:] = [
            f"{source.name} of {target.name}"
            for source, target in _pairs(cast)
            if any(allowed(source, target, port) for port in PORTS)
            and where[target.name] not in status[source.name]["peers"]
        ]
        return not missing

    until(
        settled,
        within=_KNOWN_WITHIN,
        what="clients that know each other",
        seen=lambda: f"unknown: {', '.join(missing[:5])}",
        poll=0.5,
    )


def await_connection(crowd: Crowd, source: str, target: str, port: int) -> None:
    """Returns when a client connects to another one; DeadlineError."""
    _await(crowd, (source, target, port), connected=True)


def await_denial(crowd: Crowd, source: str, target: str, port: int) -> None:
    """Returns when a client cannot connect to another one; DeadlineError. It may know it on:
    Headscale 0.29 forgets to tell of a peer that is out of reach when the client's new stream
    begins in that moment. What is open is decided by the other one's packet filter.
    """
    _await(crowd, (source, target, port), connected=False)


def _await(crowd: Crowd, way: tuple[str, str, int], *, connected: bool) -> None:
    source, target, port = way
    seen: list[str] = []

    def holds() -> bool:
        seen[:] = [crowd.connect([(source, crowd.addresses()[target], port)])[0].outcome]
        return (seen[0] == "connected") is connected

    until(
        holds,
        within=_KNOWN_WITHIN,
        what=f"{source} {'reaches' if connected else 'is kept from'} {target}:{port}",
        seen=lambda: seen[0],
        poll=0.5,
    )


def packets(crowd: Crowd, cast: Sequence[Member] = CAST) -> list[Row]:
    """Try every source, destination and port. CrowdError as of `_addresses`."""
    where = _addresses(crowd, cast)
    tries = [(source, target, port) for source, target in _pairs(cast) for port in PORTS]
    done = _connect(crowd, [(s.name, where[t.name], port) for s, t, port in tries])
    return _rows(tries, done)


def datagrams(crowd: Crowd, cast: Sequence[Member] = CAST) -> list[Row]:
    """As `packets`, with UDP to the port of name servers: a rule opens both."""
    where = _addresses(crowd, cast)
    tries = [(source, target, NAMES) for source, target in _pairs(cast)]
    done = crowd.send([(s.name, where[t.name], port) for s, t, port in tries])
    return _rows(tries, done)


def _rows(tries: Sequence[tuple[Member, Member, int]], done: Sequence[Try]) -> list[Row]:
    return [
        Row(source, target, allowed(source, target, port), found)
        for (source, target, port), found in zip(tries, done, strict=True)
    ]


def _addresses(crowd: Crowd, cast: Sequence[Member]) -> dict[str, str]:
    """By name, once all know whom they may see. CrowdError when two that know each other have no
    tunnel, for then nothing would be proven.
    """
    await_acquaintance(crowd, cast)
    status = crowd.status()
    where = {name: str(found["address"]) for name, found in status.items()}
    known = [
        (source.name, where[target.name])
        for source, target in _pairs(cast)
        if where[target.name] in status[source.name]["peers"]
    ]
    if broken := [f"{p}: {said}" for p, said in zip(known, crowd.ping(known), strict=True) if said]:
        raise CrowdError(f"no tunnel: {'; '.join(broken[:5])}")
    return where


def _connect(crowd: Crowd, tries: Sequence[tuple[str, str, int]]) -> list[Try]:
    """As `Crowd.connect`, but what no packet filter decided is tried again."""
    done = crowd.connect(tries)
    for _ in range(_TRIES - 1):
        open_ = [i for i, found in enumerate(done) if found.seen and found.outcome in _UNDECIDED]
        if not open_:
            break
        for i, found in zip(open_, crowd.connect([tries[i] for i in open_]), strict=True):
            done[i] = found
    return done


def logins(crowd: Crowd, cast: Sequence[Member] = CAST) -> list[SshRow]:
    """Try Tailscale SSH from people to servers, as several users, while the servers offer it."""
    servers = [member for member in cast if member.tags]
    where = crowd.addresses()
    tries = [
        (source, target, user, target.role in roles)
        for source in cast
        for target in servers
        for (role, user), roles in LOGINS.items()
        if role == source.role
    ]
    names = [server.name for server in servers]
    crowd.allow_ssh(names, on=True)
    try:
        done = crowd.ssh([(s.name, where[t.name], user) for s, t, user, _ in tries])
    finally:
        crowd.allow_ssh(names, on=False)
    return [
        SshRow(source, target, want, found)
        for (source, target, _, want), found in zip(tries, done, strict=True)
    ]


def faults(rows: Sequence[Row] | Sequence[SshRow]) -> list[str]:
    """The exceptions of a table, a line each. A destination to which nothing connected is one:
    its denials would prove nothing.
    """
    found = [row.fault for row in rows if row.fault]
    reached = {row.target for row in rows if row.allowed and not row.fault}
    return found + [f"nothing reached {t.name}" for t in {r.target for r in rows} - reached]


def outcomes(rows: Sequence[Row]) -> dict[tuple[str, str, int], bool]:
    """By source, destination (names) and port: whether it connected; two tables are the same
    when this is.
    """
    return {
        (row.source.name, row.target.name, row.done.port): row.done.outcome == "connected"
        for row in rows
    }


def count(rows: Sequence[Row], which: Callable[[Row], bool]) -> int:
    """How many rows are so."""
    return sum(map(which, rows))


def _pairs(cast: Sequence[Member]) -> list[tuple[Member, Member]]:
    return [(source, target) for source in cast for target in cast if source != target]
