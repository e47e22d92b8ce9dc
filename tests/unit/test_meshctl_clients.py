"""Covers `meshctl clients`: the line by which a machine joins, and the variables of the role."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

import pytest

from tests.ssh_hosts import Fleet
from tests.unit.meshctl_mesh import Operator

HASHES: Final = {"install.sh": "1" * 64, "tailscale": "2" * 64, "tailscaled": "3" * 64}
REGIONAL: Final = {"url": "https://a.oss-cn-beijing-internal.example", "everywhere": False}
GLOBAL: Final = {"url": "https://b.s3.example", "everywhere": True}
CLIENTS: Final[dict[str, Any]] = {
    "programs": HASHES,
    "stores": {"alicloud-cn-beijing": REGIONAL, "aws-ap-east-1": GLOBAL},
    "names": ["(prod|dev)-(web|db)-(bj)-[0-9]{3}", "(ops)-(laptop)-[a-z][a-z0-9-]*"],
}
KEY: Final = "hskey-auth-a-secret"


@pytest.fixture(autouse=True)
def told(fleet: Fleet) -> None:
    """The stack tells of clients."""
    fleet.tell(clients=CLIENTS, keys={"prod-servers": KEY})


def _installer(operator: Operator) -> list[str]:
    """The arguments of install.sh in the line that was printed."""
    words = shlex.split(operator.out)
    return words[words.index("sh") + 2 :]


def test_the_line_checks_the_installer_before_it_runs_it(operator: Operator) -> None:
    assert operator.runs("clients", "line") == 0

    fetch, check, run = operator.out.split(" && ")
    assert shlex.split(fetch)[-1] == f"{GLOBAL['url']}/{HASHES['install.sh']}/install.sh"
    assert check == f"echo '{HASHES['install.sh']}  mesh-install.sh' | sha256sum --check --quiet"
    assert run.startswith("sudo sh mesh-install.sh --server https://hs.mesh.example ")


def test_the_line_pins_both_programs(operator: Operator) -> None:
    operator.runs("clients", "line")

    words = _installer(operator)
    for name in ("tailscale", "tailscaled"):
        assert words[words.index(f"--{name}") + 1] == HASHES[name]


def test_the_line_holds_no_key(operator: Operator) -> None:
    operator.runs("clients", "line", "--key-file", "/run/key")

    assert KEY not in operator.out + operator.err
    assert _installer(operator)[-2:] == ["--key-file", "/run/key"]


def test_the_first_store_that_serves_everybody_is_taken(operator: Operator) -> None:
    operator.runs("clients", "line")

    assert f"--store {GLOBAL['url']} " in operator.out


def test_a_store_can_be_named(operator: Operator) -> None:
    operator.runs("clients", "line", "--store", "alicloud-cn-beijing")

    assert f"--store {REGIONAL['url']} " in operator.out


def test_an_unknown_store_is_refused_with_those_there_are(operator: Operator) -> None:
    assert operator.runs("clients", "line", "--store", "aws-mars-1") == 3
    assert "choose from alicloud-cn-beijing, aws-ap-east-1" in operator.err


def test_without_a_store_for_everybody_one_must_be_named(operator: Operator, fleet: Fleet) -> None:
    fleet.tell(clients={**CLIENTS, "stores": {"alicloud-cn-beijing": REGIONAL}})

    assert operator.runs("clients", "line") == 3
    assert "--store" in operator.err


def test_a_name_that_follows_no_rule_is_refused(operator: Operator) -> None:
    assert operator.runs("clients", "line", "web1") == 3
    assert "'web1'" in operator.err


def test_a_name_by_the_rule_is_given_to_the_installer(operator: Operator) -> None:
    assert operator.runs("clients", "line", "prod-web-bj-007") == 0
    assert "--hostname prod-web-bj-007" in operator.out


def test_a_stack_of_an_older_version_is_told_so(operator: Operator, fleet: Fleet) -> None:
    fleet.tell()

    assert operator.runs("clients", "line") == 3
    assert "clients: missing; `pulumi up`" in operator.err


def test_the_role_gets_the_values_of_the_line(operator: Operator) -> None:
    operator.runs("clients", "line")
    words = _installer(operator)

    operator.runs("clients", "variables")

    line = {words[i].removeprefix("--"): words[i + 1] for i in range(0, len(words), 2)}
    assert json.loads(operator.out) == {
        "mesh_client_server": line["server"],
        "mesh_client_store": line["store"],
        "mesh_client_tailscale_sha256": line["tailscale"],
        "mesh_client_tailscaled_sha256": line["tailscaled"],
        "mesh_client_name_pattern": line["name-pattern"],
    }
