"""The clouds' modules against the simulated clouds, on the real engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lab import engine
from tests.engine.lab_region import Region

Run = Callable[..., engine.Result]
Make = Callable[[str], engine.Engine]

_PLACES = {
    "alicloud": ("cn-beijing", ["cn-beijing-h", "cn-beijing-k", "cn-beijing-l"]),
    "tencentcloud": ("ap-shanghai", ["ap-shanghai-2", "ap-shanghai-3", "ap-shanghai-4"]),
    "aws": ("ap-southeast-1", ["ap-southeast-1a", "ap-southeast-1b", "ap-southeast-1c"]),
}
# The home network, its hosts and their addresses. The configuration names the cloud and the
# user data.
_PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import pulumi
from components import clouds
from components.network import Network, NetworkArgs
from mesh import settings, topology

config = pulumi.Config()
planned = topology.build(settings.load(config.require_object("settings"), "the test"))
spec = planned.network("home")
cloud = clouds.of(spec.cloud)
provider = cloud.provider("home", spec.region, pulumi.ResourceOptions())
net = Network("home", NetworkArgs(spec=spec, environment="trial"),
    pulumi.ResourceOptions(providers=[provider]))
opts = pulumi.ResourceOptions(parent=net)
key = cloud.key_pair("operators", "trial", config.require("key"), opts)
for name in ("ops-1", "pg-1"):
    host = planned.host(name)
    firewall = cloud.firewall(name, "trial", net.network_id, host.rules, opts)
    made = cloud.instance(name, host, clouds.InstanceArgs(environment="trial",
        network_id=net.network_id, subnet_id=net.subnets[host.subnet], firewall_id=firewall,
        key_pair=key, user_data=config.require("user_data"), os="debian-12",
        protect=config.require_bool("protect")), opts)
    if host.public:
        pulumi.export("address", cloud.public_address(name, "trial", made, host, opts))
"""
# A key of the DNS service, which needs nothing but its zone.
_CREDENTIAL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import pulumi
from components import clouds

config = pulumi.Config()
cloud = clouds.of(config.require("cloud"))
provider = cloud.provider("home", config.require("region"), pulumi.ResourceOptions())
opts = pulumi.ResourceOptions(provider=provider)
zone = cloud.zone("zone", "ops.example.com", False, opts)
pulumi.export("credential", cloud.dns_credential("acme", "trial", zone, opts))
"""
_SECRETS = {"ALICLOUD_SECRET_KEY", "TENCENTCLOUD_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"}
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl trial"


def _configure(lab: engine.Engine, **values: str) -> None:
    for key, value in values.items():
        lab.run("config", "set", key, value, "--stack", "dev").check()


def _settings(cloud: str) -> str:
    root = Path(__file__).parents[2]
    raw = yaml.safe_load((root / "stacks" / "Pulumi.staging.yaml").read_text())["config"]
    region, zones = _PLACES[cloud]
    raw["mesh:control"].update(cloud=cloud, region=region, zones=zones)
    return json.dumps({key.removeprefix("mesh:"): value for key, value in raw.items()})


@pytest.mark.slow
@pytest.mark.parametrize("cloud", list(_PLACES))
def test_a_home_network_lives_and_its_hosts_stay(
    cloud: str, lab_program: Make, pulumi: Run
) -> None:
    lab = lab_program(_PROGRAM)
    _configure(lab, settings=_settings(cloud), key=_KEY, user_data="#!/bin/sh", protect="true")
    pulumi(lab, "up").check()
    assert lab.stack_outputs("dev")["address"].startswith("198.18.")

    _configure(lab, user_data="#!/bin/sh -e")
    pulumi(lab, "up", "--expect-no-changes").check()  # new user data replaces no host
    pulumi(lab, "refresh", "--expect-no-changes").check()

    refused = pulumi(lab, "destroy")
    assert refused.returncode != 0
    assert "protected" in refused.stdout + refused.stderr
    _configure(lab, protect="false")
    pulumi(lab, "up").check()
    pulumi(lab, "destroy").check()
    assert not lab.store.all()


@pytest.mark.slow
@pytest.mark.parametrize("cloud", list(_PLACES))
def test_a_dns_credential_lives_and_stays_secret(
    cloud: str, lab_program: Make, pulumi: Run
) -> None:
    lab = lab_program(_CREDENTIAL)
    zone = Region("aws", "us-east-1", lab.state).make(
        "aws:route53/zone:Zone", "zone", name="ops.example.com"
    )
    _configure(lab, cloud=cloud, region=_PLACES[cloud][0])
    pulumi(lab, "preview").check()
    pulumi(lab, "up").check()
    made = lab.stack_outputs("dev", show_secrets=True)["credential"]
    assert all(made.values())

    pulumi(lab, "up", "--expect-no-changes").check()
    pulumi(lab, "refresh", "--expect-no-changes").check()
    assert lab.stack_outputs("dev", show_secrets=True)["credential"] == made
    exported = lab.run("stack", "export", "--stack", "dev").check().stdout
    (secret,) = (value for name, value in made.items() if name in _SECRETS)
    assert secret not in exported

    pulumi(lab, "destroy").check()
    assert [found.id for found in lab.store.all()] == [zone]
