"""Covers the maps that follow from settings, and what the hosts are given to watch relays."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mesh import bundle, derp
from mesh.roles import guard, relay_watch
from tests import bundles, stacks

HASH = bundles.RELAYS.certificates["derp-sh"]
KEY = "0123456789abcdef" * 4


def parts() -> tuple[bundle.Bundle, bundle.Bundle]:
    settings, topology = stacks.load("prod"), stacks.build("prod")
    return (
        relay_watch.ops_part(settings, topology, bundles.RELAYS, KEY, bundles.ARTIFACTS),
        relay_watch.control_part(settings, topology, bundles.RELAYS),
    )


def test_every_relay_is_in_the_map_at_its_address() -> None:
    made = derp.full(stacks.load("prod"), bundles.RELAYS)

    assert made["regions"]["901"] == {
        "regionid": 901,
        "regioncode": "sh",
        "regionname": "Shanghai",
        "nodes": [
            {
                "name": "901a",
                "regionid": 901,
                "hostname": f"derp-sh.{stacks.load('prod').dns.zone}",
                "ipv4": "198.51.100.2",
                "ipv6": "none",
                "stunport": 3478,
                "derpport": 443,
                "canport80": True,
                "certname": HASH,
            }
        ],
    }
    assert list(made["regions"]) == ["900", "901", "902", "903"]
    assert "certname" not in made["regions"]["900"]["nodes"][0]


def test_a_relay_with_ipv6_has_both_addresses_in_the_map() -> None:
    nodes = dataclasses.replace(bundles.RELAYS, ipv6={"derp-hk": "2001:db8::10"})

    regions = derp.full(stacks.load("prod"), nodes)["regions"]

    node = regions["902"]["nodes"][0]
    assert (node["ipv4"], node["ipv6"]) == ("198.51.100.3", "2001:db8::10")
    assert regions["903"]["nodes"][0]["ipv6"] == "none"


def test_derpprobe_gets_the_same_map_in_its_own_spelling_without_ipv6() -> None:
    whole = derp.full(stacks.load("prod"), bundles.RELAYS)

    node = derp.for_probes(whole)["Regions"]["901"]["Nodes"][0]
    assert node == {
        "Name": "901a",
        "RegionID": 901,
        "HostName": whole["regions"]["901"]["nodes"][0]["hostname"],
        "IPv4": "198.51.100.2",
        "STUNPort": 3478,
        "DERPPort": 443,
        "CanPort80": True,
        "CertName": HASH,
    }


def test_a_relay_without_an_address_is_named() -> None:
    with pytest.raises(KeyError, match="derp-bj"):
        derp.full(stacks.load("prod"), derp.Nodes({}, {}))


def test_only_the_programs_that_need_the_mesh_key_can_read_it() -> None:
    holders = [file for part in parts() for file in part.files if KEY in file.content]

    assert [(file.path, file.mode, file.group) for file in holders] == [
        (relay_watch.MESH_KEY, "0640", "derpprobe")
    ]
    assert relay_watch.key_file(KEY, "derper").group == "derper"


def test_the_bundle_does_not_own_the_map_that_the_service_writes() -> None:
    _, control = parts()

    assert derp.MAP not in bundles.files(control)
    config = json.loads(bundles.files(control)["/etc/mesh/relay-map.json"].content)
    assert config["map"] == derp.MAP
    assert config["full"] in bundles.files(control)


def test_there_is_a_map_before_headscale_starts() -> None:
    unit = bundles.files(parts()[1])[f"/etc/systemd/system/{relay_watch.MAP_UNIT}"].content

    assert f"Before={guard.UNIT}\n" in unit
    assert "Type=notify\n" in unit, "ready only when the map is written"


def test_what_restarts_a_unit_is_there() -> None:
    ops, control = parts()
    for name, part in (("ops-1", ops), ("hs-1", control)):
        host = bundles.build("prod", name)
        known = {file.path for file in (*host.files, *part.files)}
        known |= {artifact.path for artifact in part.artifacts}
        for unit in part.units:
            assert set(unit.restart_on) <= known, f"{unit.name} waits for what never comes"


def test_both_hosts_have_every_module_that_the_programs_import() -> None:
    ops, control = (set(bundles.files(part)) for part in parts())
    library = "/usr/local/lib/mesh"
    program = {f"{library}/relays/{p.name}" for p in (stacks.REPOSITORY / "relays").glob("*.py")}

    assert program <= ops
    assert program <= control
    assert f"{library}/guard/etcd.py" in ops
    assert f"{library}/guard/etcd.py" not in control, "it is the guard's there"
