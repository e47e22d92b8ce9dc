"""A trial of the policy by Headscale itself: what it is given, and what its answer means.

Headscale runs a policy's tests against nodes that exist. So it gets a scratch database with a
device for every user and a server for every tag, each with addresses that no plan uses.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mesh import hujson
from mesh.hujson import Document, Path
from mesh.policy_rules import POLICY, TESTS, Fault

# Counted into the fingerprint: what a trial finds may change with how it is made.
_EDITION: Final = 1

_V4: Final = ipaddress.IPv4Address("100.127.0.0")  # the mesh's last /16; plan 3.1 ends before it
_V6: Final = ipaddress.IPv6Address("fd7a:115c:a1e0:ffff::")

DATABASE: Final = "scratch.sqlite"  # in the folder of a trial

_USER: Final = "INSERT INTO users (id, name) VALUES (?, ?)"
_NODE: Final = (
    "INSERT INTO nodes (id, machine_key, node_key, disco_key, endpoints, host_info, ipv4, ipv6,"
    " hostname, given_name, user_id, register_method, tags, approved_routes)"
    " VALUES (?, ?, ?, ?, '[]', '{}', ?, ?, ?, ?, ?, 'authkey', ?, '[]')"
)
# Headscale's words for a test that failed, for one that it cannot run, and for the rest.
_FAILED: Final = re.compile(r"^(?P<src>\S+?)(?:/(?P<user>\S+))? -> (?P<dst>\S+?)(?: \(\S+\))?: ")
_UNSOUND: Final = re.compile(r"^(?P<kind>test|sshTest) (?P<number>\d+)\b")
_UNRESOLVED: Final = re.compile(r"^\S+: (?:source|error testing|failed to resolve)\b")
_POINTER: Final = re.compile(r'within "(?P<pointer>/[^"]*)"')
_NAME: Final = re.compile(r'"(?P<quoted>[^"]+)"|(?P<plain>autogroup:[a-z]+|checkPeriod)')
_HEADINGS: Final = ("test(s) failed:", "multiple errors:")
_NOISE: Final = re.compile(
    r"^(?:Error: |parsing policy file: |parsing policy: |parsing policy from bytes: )+"
)
_DECLARATIONS: Final = ("groups", "tagOwners", "hosts")

Statement = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Trial:
    """The policy, its tests and the users, as they were read from policy/."""

    policy: Document
    tests: Document
    users: tuple[str, ...]

    @classmethod
    def read(cls, policy: str, tests: str, users: Sequence[str]) -> Trial:
        """The trial of two texts without faults of form."""
        return cls(hujson.parse(policy), hujson.parse(tests), tuple(users))

    @cached_property
    def document(self) -> str:
        """The policy with its tests, as Headscale reads it."""
        tests = {key: self.tests.value.get(key, []) for key in ("tests", "sshTests")}
        return json.dumps({**self.policy.value, **tests}, ensure_ascii=False)

    def fingerprint(self, program: str) -> str:
        """A name for this trial by the program with that checksum: the same outcome each time."""
        parts = [str(_EDITION), program, self.document, *self.users]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def statements(self) -> Iterator[Statement]:
        """The SQL that fills the scratch database: users, then a node for each user and tag."""
        for i, user in enumerate(self.users, 1):
            yield _USER, (i, user)
            yield _node(i, user, user_id=i)
        for i, tag in enumerate(self.policy.value.get("tagOwners", {}), len(self.users) + 1):
            yield _node(i, tag, tag=tag)

    def meaning(self, answer: str) -> list[Fault]:
        """Headscale's complaint, each line at the place that it is about."""
        lines = [_NOISE.sub("", line.strip()) for line in answer.splitlines()]
        return [self._fault(line) for line in lines if line and not line.endswith(_HEADINGS)]

    def _fault(self, line: str) -> Fault:
        text = f"Headscale: {line}"
        if failed := _FAILED.match(line):
            return Fault(TESTS, self._line_of_test(**failed.groupdict()), text)
        if unsound := _UNSOUND.match(line):
            test = (f"{unsound['kind']}s", int(unsound["number"]))
            return Fault(TESTS, self._line_naming(self.tests, line, test), text)
        if _UNRESOLVED.match(line):
            return Fault(TESTS, self._line_naming(self.tests, line, ()), text)
        if pointed := _POINTER.search(line):
            return self._at(pointed["pointer"], text)
        return Fault(POLICY, self._line_naming(self.policy, line, ()), text)

    @staticmethod
    def _line_naming(document: Document, words: str, part: Path) -> int:
        """The first line in a part of a document that says what the words name, or the part's."""
        for found in _NAME.finditer(words):
            if line := _line_of(document, found["quoted"] or found["plain"], part):
                return line
        return document.line(part) if part else 0

    def _at(self, pointer: str, text: str) -> Fault:
        parts = pointer.removeprefix("/").split("/")
        names = [part.replace("~1", "/").replace("~0", "~") for part in parts]
        path = tuple(int(name) if name.isdigit() else name for name in names)
        if names[0] in self.tests.value:
            return Fault(TESTS, self.tests.line(path), text)
        return Fault(POLICY, self.policy.line(path), text)

    def _line_of_test(self, src: str, user: str | None, dst: str) -> int:
        """The line of the destination, or of the user for SSH, in the test that failed."""
        section, wanted = ("tests", dst) if user is None else ("sshTests", user)
        lines = [
            (dst not in test.get("dst", (dst,)), self.tests.line((section, i, key, j)))
            for i, test in enumerate(self.tests.value.get(section, ()))
            for key in ("accept", "deny", "check")
            for j, name in enumerate(test.get(key, ()))
            if test["src"] == src and name == wanted
        ]
        # A server that an autogroup means is told by its own name: then any such test will do.
        return min(lines)[1] if lines else self.tests.line((section,))


def _node(number: int, name: str, user_id: int | None = None, tag: str | None = None) -> Statement:
    key = f"{number:064x}"
    keys = (f"mkey:{key}", f"nodekey:{key}", f"discokey:{key}")
    addresses = (str(_V4 + number), str(_V6 + number))
    tags = json.dumps([tag] if tag else [])
    return _NODE, (number, *keys, *addresses, name, name, user_id, tags)


def _line_of(document: Document, name: str, part: Path) -> int | None:
    """The first line of a part where a text is a key, a value or what a value begins with.

    Rules come before the sections that only declare names.
    """

    def rules_first(path: Path) -> tuple[bool, int]:
        return bool(path) and path[0] in _DECLARATIONS, document.lines[path]

    for path in sorted(document.lines, key=rules_first):
        value = document.value
        for key in path:
            value = value[key]
        text = value if isinstance(value, str) else ""
        here = name == text or text.startswith(f"{name}:") or name in path[-1:]
        if here and path[: len(part)] == part:
            return document.lines[path]
    return None


def configuration(folder: str) -> str:
    """Headscale's configuration for a trial; JSON is YAML. It listens nowhere."""
    return json.dumps(
        {
            "server_url": "http://127.0.0.1:1",
            "noise": {"private_key_path": f"{folder}/noise.key"},
            "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
            "derp": {"urls": [], "paths": []},
            "database": {
                "type": "sqlite",
                # A scratch: what is in it need not survive.
                "sqlite": {"path": f"{folder}/{DATABASE}", "write_ahead_log": False},
            },
            "dns": {"magic_dns": False, "override_local_dns": False},
            "policy": {"mode": "database"},
            "log": {"level": "error"},
            "disable_check_updates": True,
        }
    )
