"""Policies that must be refused, each with where it breaks which rule and what its error says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.policy_rules import POLICY, TESTS
from tests import stacks


@dataclass(frozen=True)
class BadPolicy:
    """The committed policy with one text replaced."""

    title: str
    old: str
    new: str
    at: str  # what stands on the line that the error names
    says: tuple[str, ...]
    file: str = POLICY  # where the change is made
    told_in: str = ""  # where the error is told, if in the other file

    def texts(self) -> dict[str, str]:
        """Both files' texts with the change."""
        made = committed()
        assert made[self.file].count(self.old) >= 1, f"{self.title}: {self.old!r} is gone"
        return made | {self.file: made[self.file].replace(self.old, self.new, 1)}

    def place(self) -> str:
        """What the error begins with: "policy.hujson:12:"."""
        file = self.told_in or self.file
        text = self.texts()[file]
        return f"{file}:{text[: text.index(self.at)].count(chr(10)) + 1}:"


def committed() -> dict[str, str]:
    """The committed policy and its tests, by name of file."""
    folder: Path = stacks.REPOSITORY / "policy"
    return {name: (folder / name).read_text() for name in (POLICY, TESTS)}


_DNS: Final = '"dst": ["tag:dns:53"]'
_K8S: Final = '"src": ["tag:k8s"], "dst": ["tag:k8s:*"]'
_ADMINS: Final = '"src": ["group:ops-admin"], "dst": ["*:*"]'
_DBA: Final = '"dst": ["tag:db:3306,5432,6379,27017"]'
_SSH: Final = '"dst": ["autogroup:tagged"]'
_LOGINS: Final = '"users": ["root", "ubuntu", "centos"]'
_ATTRS: Final = '"nodeAttrs":'

# Found by our own rules, all at once, without running anything.
STATIC: Final = (
    BadPolicy("an unknown tag", _DBA, '"dst": ["tag:dbs:5432"]', "tag:dbs",
              ("tag 'tag:dbs' is not in tagOwners", "write tag:db")),
    BadPolicy("a tag without an owner", '"tag:mq": ["group:ops-admin"]', '"tag:mq": []', '"tag:mq"',
              ("tag:mq has no owner",)),
    BadPolicy("a tag whose name begins with a digit", '"tag:mq": [', '"tag:0mq": [', '"tag:0mq"',
              ('"tag:0mq" is no tag', "a letter first")),
    BadPolicy("the user: form in a group", '"zhangsan@"', '"user:zhangsan"', "user:zhangsan",
              ("'user:zhangsan' is no user", "write zhangsan@")),
    BadPolicy("the user: form in a rule", _K8S, '"src": ["user:dev01"], "dst": ["tag:k8s:*"]',
              "user:dev01", ("write dev01@",)),
    BadPolicy("a user without the @", '"lisi@"', '"lisi"', '"lisi"', ("write lisi@",)),
    BadPolicy("an undeclared user", '"qa02@"', '"qa03@"', "qa03",
              ("'qa03@' is not in users.yaml",)),
    BadPolicy("a user's name where a host is wanted", '"src": ["jenkins-master"]',
              '"src": ["zhangsan"]', '"src": ["zhangsan"]', ("is a user", "write zhangsan@")),
    BadPolicy("an undeclared group", '"src": ["group:qa"]', '"src": ["group:qas"]', "group:qas",
              ("group 'group:qas' is not in groups", "write group:qa")),
    BadPolicy("an undeclared owner", '"tag:dev": ["group:ops-admin"', '"tag:dev": ["group:admins"',
              "group:admins", ("group 'group:admins' is not in groups",)),
    BadPolicy("an undeclared host", '"src": ["jenkins-master"]', '"src": ["jenkins"]',
              '"src": ["jenkins"]', ("host 'jenkins' is not in hosts", "jenkins-master")),
    BadPolicy("a group in a group", '"group:dba": ["dba01@"]', '"group:dba": ["group:qa"]',
              '"group:dba": ["group:qa"]', ("group:qa is a group", "list its members")),
    BadPolicy("a group without its prefix", '"group:dba": [', '"dba": [', '"dba": [',
              ("write group:dba",)),
    BadPolicy("port 0", _DBA, '"dst": ["tag:db:0"]', "tag:db:0", ("port 0 does not exist",)),
    BadPolicy("a port above 65535", _DBA, '"dst": ["tag:db:65536"]', "tag:db:65536",
              ("port 65536 does not exist", "1 to 65535")),
    BadPolicy("no port", _DBA, '"dst": ["tag:db"]', '"dst": ["tag:db"]',
              ("'tag:db' has no port", "tag:db:*")),
    BadPolicy("an empty port", _DBA, '"dst": ["tag:db:3306,"]', "tag:db:3306,",
              ("a port is missing",)),
    BadPolicy("a service's name as a port", _DBA, '"dst": ["tag:db:mysql"]', "tag:db:mysql",
              ("'mysql' is no port",)),
    BadPolicy("a range of ports that runs backwards", _DBA, '"dst": ["tag:db:90-80"]', "90-80",
              ("90-80 runs backwards",)),
    BadPolicy("* as an SSH destination", _SSH, '"dst": ["*"]', '"dst": ["*"]',
              ("'*' is no SSH destination", "autogroup:tagged")),
    BadPolicy("a host as an SSH destination", _SSH, '"dst": ["prod-bastion"]',
              '"dst": ["prod-bastion"]', ("'prod-bastion' is a host", "no SSH destination")),
    BadPolicy("a group as an SSH destination", _SSH, '"dst": ["group:dba"]',
              '"dst": ["group:dba"]', ("'group:dba' is a group", "no SSH destination")),
    BadPolicy("* as an SSH user", _LOGINS, '"users": ["*"]', '"users": ["*"]',
              ("'*' is no user to log in as",)),
    BadPolicy("no SSH user", _LOGINS, '"users": []', '"users": []', ('"users" is empty',)),
    BadPolicy("deny as an action", '"action": "accept", "src": ["*"]',
              '"action": "deny", "src": ["*"]', '"deny"', ("'deny' is no action", "write accept")),
    BadPolicy("an SSH action of its own", '"ssh": [\n\t\t// Operations administrators log in to '
              'every server. Headscale takes no "*" here;\n\t\t// every server carries a tag.\n'
              '\t\t{\n\t\t\t"action": "accept"', '"ssh": [{"action": "allow"', '"allow"',
              ("'allow' is no action", "accept or check")),
    BadPolicy("a misspelt section", '"tagOwners": {', '"tagowner": {', '"tagowner"',
              ('no section "tagowner"', "write tagOwners")),
    BadPolicy("an unknown key in a rule", _K8S, '"src": ["tag:k8s"], "dest": ["tag:k8s:*"]',
              '"dest"', ('no key "dest"', "write dst")),
    BadPolicy("a rule without a source", _K8S, '"dst": ["tag:k8s:*"]',
              '{"action": "accept", "dst": ["tag:k8s:*"]}', ('"src" is missing',)),
    BadPolicy("a string where a list is wanted", '"src": ["tag:web"]', '"src": "tag:web"',
              '"src": "tag:web"', ("'tag:web' stands where a list of strings is wanted",)),
    BadPolicy("an unknown autogroup", '"src": ["tag:k8s"]', '"src": ["autogroup:admin"]',
              "autogroup:admin", ("'autogroup:admin' is not allowed here", "autogroup:member")),
    BadPolicy("the Internet as a source", '"src": ["tag:k8s"]', '"src": ["autogroup:internet"]',
              "autogroup:internet", ("'autogroup:internet' is not allowed here",)),
    BadPolicy("a network that is none", _DNS, '"dst": ["100.64.0.1/33:53"]', "100.64.0.1/33",
              ("neither an address nor a network",)),
    BadPolicy("a network with host bits", _DNS, '"dst": ["100.64.0.1/24:53"]', "100.64.0.1/24",
              ("write 100.64.0.0/24",)),
    BadPolicy("a host alias without an address", '"100.67.100.1/32"', '"100.67.100.256"',
              "100.67.100.256", ("neither an address nor a network",)),
    BadPolicy("a host outside the mesh", '"100.67.100.1/32"', '"10.10.0.5"', "10.10.0.5",
              ("10.10.0.5 is outside the mesh", "100.64.0.0/10")),
    BadPolicy("a section that is written twice", _ATTRS, '"hosts": {}, "nodeAttrs":',
              '"hosts": {}', ('"hosts" is written twice, first on line',)),
    BadPolicy("a key that is written twice", '"tag:api": [', '"tag:web": [',
              '"tag:web": ["group:ops-admin"],\n\t\t"tag:db"', ('"tag:web" is written twice',)),
    BadPolicy("tests in the policy itself", _ATTRS, '"tests": [], "nodeAttrs":', '"tests"',
              ('"tests" belongs in tests.hujson',)),
    BadPolicy("a grant of nothing", _ATTRS,
              '"grants": [{"src": ["tag:web"], "dst": ["tag:api"]}], "nodeAttrs":', '"grants"',
              ("the grant opens nothing",)),
    BadPolicy("administrators without a rule", _ADMINS,
              '"src": ["group:ops-admin"], "dst": ["tag:web:22"]', '"tag:prod": [',
              ("locks administrators out", "nobody in group:ops-admin", "port 22 of tag:prod")),
    BadPolicy("administrators with every port but SSH", _ADMINS,
              '"src": ["group:ops-admin"], "dst": ["*:1-21,23-65535"]', '"tag:cache": [',
              ("locks administrators out", "open tag:cache:22")),
    BadPolicy("a group of administrators without a member", '["zhangsan@", "lisi@"]', "[]",
              '"group:ops-admin": []', ("group:ops-admin has no member",)),
    BadPolicy("administrators that no group is", '"admins": "group:ops-admin"',
              '"admins": "group:root"', '"groups": {', ("group:root has no member",),
              TESTS, POLICY),
    BadPolicy("a missing comma", '["qa01@", "qa02@"]', '["qa01@" "qa02@"]', '["qa01@" "qa02@"]',
              ("not HuJSON: expected a comma or ]",)),
    BadPolicy("a misspelt key in a test", '"src": "tag:k8s", "accept"', '"src": "tag:k8s", "allow"',
              '"allow"', ('no key "allow"',), TESTS),
)  # fmt: skip

# Found only by Headscale itself.
TRIED: Final = (
    BadPolicy("a test whose line is closed", '"src": ["group:dba"], "dst": ["tag:bastion:22"]',
              '"src": ["group:dba"], "dst": ["tag:bastion:443"]',
              '"accept": ["tag:bastion:22"], "deny": ["tag:bastion:443"]}',
              ("dba01@ -> tag:bastion:22: expected ALLOWED, got DENIED",), told_in=TESTS),
    BadPolicy("a test whose line is open", '"src": ["group:dev-junior"], "dst": ["tag:dev:*"]',
              '"src": ["group:dev-junior"], "dst": ["tag:dev:*", "tag:staging:22"]',
              '"deny": ["tag:staging:22", "tag:testing:22"]',
              ("dev03@ -> tag:staging:22: expected DENIED, got ALLOWED",), told_in=TESTS),
    BadPolicy("an SSH test whose login is open", '"users": ["ubuntu", "centos"]',
              '"users": ["ubuntu", "centos", "root"]', '"deny": ["root"],\n',
              ("wangwu@/root -> tag:staging: expected DENIED, got ALLOWED",), told_in=TESTS),
    BadPolicy("a test from a tag that nobody has", '{"src": "tag:k8s"', '{"src": "tag:k9s"',
              "tag:k9s", ('source "tag:k9s" resolved to no IP addresses',), TESTS),
    BadPolicy("a test of more than one port", "tag:k8s:6443", "tag:k8s:6443-6444",
              "tag:k8s:6443-6444", ("must be a single port",), TESTS),
    BadPolicy("a test of a whole network", "tag:dns:53", "100.64.0.0/24:53",
              "100.64.0.0/24:53", ("not a CIDR range",), TESTS),
    BadPolicy("an SSH test of an unknown tag", '"dst": ["tag:dev"]', '"dst": ["tag:dew"]',
              "tag:dew", ('unknown tag "tag:dew"',), TESTS),
    BadPolicy("an unknown protocol", _DNS, f'{_DNS}, "proto": "tpc"', '"tpc"',
              ("invalid protocol number", "tpc")),
    BadPolicy("* as a protocol", _DNS, f'{_DNS}, "proto": "*"', '"proto"',
              ('proto name "*" not known',)),
    BadPolicy("ping with a port", _DNS, f'{_DNS}, "proto": "icmp"', '"icmp"',
              ("does not support specific ports",)),
    BadPolicy("a tag that reaches itself", _K8S,
              '"src": ["tag:k8s"], "dst": ["tag:k8s:*", "autogroup:self:*"]', "autogroup:self",
              ("autogroup:self can only be used with users",)),
    BadPolicy("a check's period without a check", _LOGINS, f'{_LOGINS}, "checkPeriod": "1h"',
              "checkPeriod", ('only valid with action "check"',)),
    BadPolicy("one user's devices open to others by SSH", _SSH, '"dst": ["dba01@"]',
              '"dst": ["dba01@"]', ("requires source to contain only that same user",)),
    BadPolicy("a feature that Headscale lacks", '"cache-network-maps"', '"funnel"', '"funnel"',
              ("does not yet support",)),
    BadPolicy("routes approved for an unknown group", _ATTRS,
              '"autoApprovers": {"exitNode": ["group:nope"]}, "nodeAttrs":', "group:nope",
              ('group not defined in policy: "group:nope"',)),
)  # fmt: skip
