"""Covers the whole program on the real engine over API-only clouds: what a reviewer sees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab.engine import Engine
from tests import stacks
from tests.engine.program import engine_of, write_stack

AWS_HOME: dict[str, Any] = {
    "control.cloud": "aws",
    "control.region": "ap-southeast-1",
    "control.zones": ["ap-southeast-1a", "ap-southeast-1b", "ap-southeast-1c"],
    "relays.2.cloud": "tencentcloud",
    "relays.2.region": "ap-hongkong",
    "relays.2.zone": "ap-hongkong-2",
}


def created(engine: Engine) -> Counter[str]:
    """How many of each type a preview of prod creates."""
    steps = engine.preview_json("prod")["steps"]
    assert {step["op"] for step in steps} == {"create"}
    return Counter(step["newState"]["type"] for step in steps)


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """What a preview of the committed stack prod creates."""
    return created(engine_of(tmp_path_factory.mktemp("prod"), {}))


def test_a_preview_of_prod_shows_every_host_over_three_clouds(prod: Counter[str]) -> None:
    assert prod["alicloud:ecs/instance:Instance"] == 6, "five of the control plane, one relay"
    assert prod["tencentcloud:Instance/instance:Instance"] == 1
    assert prod["aws:ec2/instance:Instance"] == 2


def test_a_preview_of_prod_shows_every_public_name(prod: Counter[str]) -> None:
    assert prod["alicloud:dns/alidnsRecord:AlidnsRecord"] == 9, (
        "hs and admin twice, monitor, relays"
    )


def test_a_preview_of_prod_shows_each_step_on_each_host(prod: Counter[str]) -> None:
    boots, bundles, others = 9, 9, 3  # others: the database, the registry on both control hosts

    assert prod["command:remote:Command"] == boots + bundles + others


def test_the_control_plane_moves_to_aws_and_a_relay_to_tencent_by_the_stack_file_alone(
    tmp_path: Path,
) -> None:
    moved = created(engine_of(tmp_path, AWS_HOME))

    assert moved["aws:ec2/instance:Instance"] == 6, "five of the control plane, Singapore"
    assert moved["tencentcloud:Instance/instance:Instance"] == 2, "Shanghai and Hong Kong"
    assert moved["alicloud:ecs/instance:Instance"] == 1, "Beijing"


FIFTH: dict[str, Any] = {
    "code": "gz", "name": "Guangzhou", "region_id": 904, "cidr": "10.20.5.0/24",
    "size": {"cpus": 2, "memory_gib": 4, "disk_gib": 50},
}  # fmt: skip
PLACES: dict[str, dict[str, str]] = {  # a region of each cloud in which prod has nothing yet
    "alicloud": {"region": "cn-shenzhen", "zone": "cn-shenzhen-a"},
    "tencentcloud": {"region": "ap-guangzhou", "zone": "ap-guangzhou-3"},
    "aws": {"region": "ap-northeast-1", "zone": "ap-northeast-1a"},
}
RELAYS = ("bj", "sh", "hk", "sg")
MAPS: set[str] = {"hs-1-bundle", "hs-2-bundle", "ops-1-bundle"}  # who is told of all relays


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Stack prod, up over API-only clouds."""
    engine = engine_of(tmp_path_factory.mktemp("running"), {})
    engine.run("up", "--stack", "prod", "--yes", "--skip-preview").check()
    return engine


def changes(engine: Engine, edits: dict[str, Any]) -> dict[str, set[str]]:
    """What a preview of the edited stack file would do: names by operation."""
    write_stack(engine.program, edits)
    found: dict[str, set[str]] = {}
    for step in engine.preview_json("prod")["steps"]:
        urn = step["urn"].split("::")
        found.setdefault(step["op"], set()).add(f"{urn[-1]} ({urn[-2].rsplit('/', 1)[-1]})")
    found.pop("same", None)
    return found


def named(steps: set[str], *words: str) -> set[str]:
    """Those of the steps whose names hold none of the words."""
    return {step for step in steps if not any(word in step for word in words)}


def types_of(steps: set[str]) -> set[str]:
    return {step.rpartition("(")[2].rstrip(")") for step in steps}


def bundles_of(steps: set[str]) -> set[str]:
    return {step.split()[0] for step in steps if "-bundle" in step}


@pytest.mark.parametrize("cloud", PLACES)
def test_a_fifth_region_shows_itself_and_who_is_told_of_it(running: Engine, cloud: str) -> None:
    fifth = {**FIFTH, "cloud": cloud, **PLACES[cloud]}

    found = changes(running, {"relays": [*stacks.values("prod")["relays"], fifth]})

    assert set(found) == {"create", "update"}
    assert not named(found["create"], "derp-gz", PLACES[cloud]["region"])
    assert bundles_of(found["update"]) == MAPS
    assert len(found["update"]) == len(MAPS), found["update"]


@pytest.mark.parametrize("code", ["bj", "sh", "sg"])  # one of each cloud
def test_a_region_that_is_taken_out_shows_itself_and_who_is_told_of_it(
    running: Engine, code: str
) -> None:
    relays = {relay["code"]: relay for relay in stacks.values("prod")["relays"]}
    gone = relays.pop(code)

    found = changes(running, {"relays": list(relays.values())})

    assert set(found) == {"delete", "update"}
    assert not named(found["delete"], f"derp-{code}", gone["region"])
    assert bundles_of(found["update"]) == MAPS
    assert len(found["update"]) == len(MAPS), found["update"]


def test_a_region_with_the_programs_of_its_cloud_leaves_them_to_the_next(running: Engine) -> None:
    relays = [relay for relay in stacks.values("prod")["relays"] if relay["code"] != "hk"]

    found = changes(running, {"relays": relays})

    assert not named(found["create"], "artifacts-aws-ap-southeast-1"), "where derp-sg is"
    assert not named(found["delete"], "derp-hk", "ap-east-1")
    assert bundles_of(found["update"]) == MAPS | {"derp-sg-bundle"}
    assert len(found["update"]) == len(MAPS) + 1, found["update"]


ALIDNS = {"alidnsRecord:AlidnsRecord", "user:User", "policy:Policy",
          "userPolicyAttachment:UserPolicyAttachment", "accessKey:AccessKey"}  # fmt: skip
OTHERS = {  # what stands for a zone, its names and a key for it
    "dnspod": {"domainInstance:DomainInstance", "record:Record", "user:User", "policy:Policy",
               "userPolicyAttachment:UserPolicyAttachment", "accessKey:AccessKey"},
    "route53": {"zone:Zone", "record:Record", "user:User", "userPolicy:UserPolicy",
                "accessKey:AccessKey"},
}  # fmt: skip


@pytest.mark.parametrize("provider", OTHERS)
def test_another_dns_service_shows_names_key_and_who_holds_the_key(
    running: Engine, provider: str
) -> None:
    holders = {"hs-1-bundle", "hs-2-bundle"} | {f"derp-{code}-bundle" for code in RELAYS}

    found = changes(running, {"dns.provider": provider, "dns.create": True})

    assert types_of(found["create"]) == OTHERS[provider]
    assert types_of(found["delete"]) == ALIDNS
    assert bundles_of(found["update"]) == holders
    assert len(found["update"]) == len(holders), found["update"]


def test_a_second_relay_of_a_region_shows_itself_and_who_is_told_of_it(running: Engine) -> None:
    relays = stacks.values("prod")["relays"]
    second = {**relays[0], "number": 2, "cidr": "10.20.9.0/24"}

    found = changes(running, {"relays": [*relays, second]})

    assert set(found) == {"create", "update"}
    assert not named(found["create"], "derp-bj-2")
    told = MAPS | {"derp-bj-bundle"}  # the two hand packets over to each other
    assert bundles_of(found["update"]) == told
    assert len(found["update"]) == len(told), found["update"]


IPV6: dict[str, set[str]] = {  # what a relay's IPv6 is made of, by the number of the relay
    "0": {"Ipv6Address", "Ipv6Gateway", "Ipv6InternetBandwidth"},
    "1": {"Ipv6CidrBlock", "Ipv6SubnetCidrBlock", "Ipv6Address", "ElasticPublicIpv6"},
    "2": set(),  # AWS: the network has it from the beginning, the instance is made with it
}


@pytest.mark.parametrize("relay", list(IPV6))
def test_ipv6_of_a_relay_shows_itself_and_who_is_told_of_it(running: Engine, relay: str) -> None:
    host = f"derp-{RELAYS[int(relay)]}"

    found = changes(running, {f"relays.{relay}.ipv6": True})

    touched = {step.split()[0] for step in set().union(*found.values())}
    foreign = {name for name in touched - MAPS if not name.startswith(host)}
    assert not foreign, "nobody else's"
    assert {"hs-1-bundle", "hs-2-bundle"} <= bundles_of(found["update"]), "whose map names it"
    made = {step.rpartition("(")[2].rstrip(":)").rpartition(":")[2] for step in found["create"]}
    assert IPV6[relay] <= made
    assert any(step.startswith(f"{host}-ipv6 ") for step in found["create"]), "its AAAA record"


def test_only_aws_makes_a_relay_anew_for_ipv6(running: Engine) -> None:
    anew = {}
    for number, code in enumerate(RELAYS):
        found = changes(running, {f"relays.{number}.ipv6": True})
        replaced = {step for op in found if "replace" in op for step in found[op]}
        anew[code] = any("nstance:Instance" in step for step in replaced)

    assert anew == {"bj": False, "sh": False, "hk": True, "sg": True}


def test_ipv6_of_a_relay_is_turned_on_and_off_by_the_stack_file(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, {})
    for wanted in (False, True, False):
        edits = {f"relays.{number}.ipv6": wanted for number in range(4)}
        write_stack(engine.program, edits)

        engine.run("up", "--stack", "prod", "--yes", "--skip-preview").check()

        again = ("up", "--stack", "prod", "--yes", "--skip-preview", "--expect-no-changes")
        engine.run(*again).check()
        hosts = engine.stack_outputs("prod")["hosts"]
        assert [("ipv6" in hosts[f"derp-{code}"]) for code in RELAYS] == [wanted] * 4
