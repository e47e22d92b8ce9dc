"""The whole installation: which component stands on which."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pulumi
import pulumi_tls as tls

from components import clouds, policy_cost
from components.artifact_store import ArtifactStore, ArtifactStoreArgs
from components.certificates import Authority
from components.database import Database, DatabaseArgs
from components.headscale import HeadscalePair, HeadscalePairArgs
from components.host import Host, HostArgs
from components.network import Network, NetworkArgs
from components.outputs import secret
from components.records import Records, RecordsArgs
from components.registry import Registry, RegistryArgs
from components.relay import Relay, RelayArgs
from components.relays import Relays, RelaysArgs
from mesh import artifacts, catalogue, registry, topology
from mesh.catalogue import Cloud
from mesh.settings import Settings

_BASTION = "ops-1"  # the way to hosts without a public address
# Pulumi runs a program in its own folder; absolute paths would differ between checkouts.
_MANIFEST = Path("dist/manifest.json")
_INSTALLER = Path("clients/install.sh")
_POLICY = Path("policy")

# Turns of the event loop that a registration takes from its declaration to the engine.
_TURNS = 10


async def _send() -> None:
    """Send what is declared: the SDK begins a registration only when the program pauses.

    The engine and the providers then work on it while the program declares the rest. A last pause
    also makes the SDK wait for registrations one by one; without any it would wait for a thousand
    outputs at once, and anew after each of them.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class Installation:
    """Networks → hosts → database → Headscale → registry, with relays and names beside them.

    `build` makes one.
    """

    _registry: Registry

    def __init__(self, settings: Settings) -> None:
        # What can be wrong is read before the engine is sent anything.
        installer = artifacts.installer(_INSTALLER)
        built = artifacts.load(_MANIFEST, settings.headscale_build)
        self._artifacts = built | {installer.name: installer}
        self._declared = registry.load(_POLICY)
        self.peers = policy_cost.told(settings, self._declared)  # by group of policy/nodes.yaml
        self._settings = settings
        self._topology = topology.build(settings)
        self._regions: dict[tuple[Cloud, str], pulumi.ProviderResource] = {}
        self._key_pairs: dict[tuple[Cloud, str], pulumi.Output[str]] = {}
        self._operators = tls.PrivateKey("operators", algorithm="ED25519")
        self._authority = Authority("mesh")
        self._networks: dict[str, Network] = {}
        self._stores: dict[str, ArtifactStore] = {}
        self._hosts: dict[str, Host] = {}

    @classmethod
    async def build(cls, settings: Settings) -> Installation:
        """Declares everything, and meanwhile lets the engine work on what is declared."""
        made = cls(settings)
        await _send()
        for spec in made._topology.networks:
            made._networks[spec.name] = made._network(spec)
            await _send()
        await made._make_stores()
        await made._make_hosts()
        records, relays = made._publish_names(), made._make_relays()
        await _send()
        for relay in made._topology.having("relay"):
            made._make_relay(relay.name, records, relays)
            await _send()
        made._registry = made._make_control_plane(records, relays)
        await _send()
        return made

    @property
    def host_table(self) -> dict[str, dict[str, Any]]:
        """Where every host is, and how to know it: role, cloud, zone, addresses and the public host
        key that it must show. A host whose `address` is its private one is behind the bastion."""
        return {
            name: {
                "role": host.spec.role,
                "instance": f"{self._settings.environment}-{name}",  # as the cloud shows it
                "cloud": host.spec.cloud,
                "zone": host.spec.zone,
                "private_address": str(host.spec.address),
                "address": host.address,
                "host_key": host.host_key,
                **({"ipv6": host.ipv6} if host.ipv6 else {}),
            }
            for name, host in self._hosts.items()
        }

    @property
    def bastion(self) -> str:
        """The host through which those without a public address are reached."""
        return _BASTION

    @property
    def operators_key(self) -> pulumi.Output[str]:
        """The private key that opens every host as user mesh; secret."""
        return secret(self._operators.private_key_openssh)

    @property
    def keys(self) -> pulumi.Output[dict[str, str]]:
        """Pre-auth keys by name; secret."""
        return self._registry.keys

    @property
    def api_keys(self) -> pulumi.Output[dict[str, str]]:
        """Keys of Headscale's API by name; secret."""
        return self._registry.api_keys

    @property
    def clients(self) -> dict[str, Any]:
        """What a machine needs to join: programs by name with their hashes, where they are, and the
        rules of which a node's name follows one. A store that is not `everywhere` serves the hosts
        of its region only."""
        names = (artifacts.INSTALLER, *artifacts.CLIENT)
        rules = self._settings.node_names
        return {
            "programs": {name: self._artifacts[name].sha256 for name in names},
            "stores": {
                f"{store.plan.cloud}-{store.plan.region}": {
                    "url": store.base_url,
                    "everywhere": store.plan.everywhere,
                }
                for store in dict.fromkeys(self._stores.values())
            },
            "names": [rules.server, rules.device],
        }

    def _in(self, cloud: Cloud, region: str) -> pulumi.ResourceOptions:
        """Options of whatever is made in a region: one provider each, made when first needed."""
        place = (cloud, region)
        if place not in self._regions:
            self._regions[place] = clouds.of(cloud).provider(
                f"{cloud}-{region}", region, pulumi.ResourceOptions()
            )
        return pulumi.ResourceOptions(providers=[self._regions[place]])

    def _network(self, spec: topology.Network) -> Network:
        args = NetworkArgs(spec=spec, environment=self._settings.environment)
        return Network(spec.name, args, self._in(spec.cloud, spec.region))

    def _key_pair(self, cloud: Cloud, region: str) -> pulumi.Output[str]:
        place = (cloud, region)
        if place not in self._key_pairs:
            self._in(cloud, region)
            self._key_pairs[place] = clouds.of(cloud).key_pair(
                f"operators-{cloud}-{region}",
                self._settings.environment,
                self._operators.public_key_openssh,
                pulumi.ResourceOptions(provider=self._regions[place]),
            )
        return self._key_pairs[place]

    async def _make_stores(self) -> None:
        """The store of each host, by the host's name."""
        for plan in artifacts.stores(self._topology):
            args = ArtifactStoreArgs(
                plan=plan,
                artifacts=self._artifacts,
                environment=self._settings.environment,
                zone=self._settings.dns.zone,
            )
            store = ArtifactStore(plan.name, args, self._in(plan.cloud, plan.region))
            self._stores |= dict.fromkeys(plan.hosts, store)
            await _send()

    async def _make_hosts(self) -> None:
        """Every host by name, in the order of the topology; the bastion is made first."""
        hosts = {_BASTION: self._host(self._topology.host(_BASTION), None)}
        for spec in self._topology.hosts:
            if spec.name != _BASTION:
                hosts[spec.name] = self._host(spec, hosts[_BASTION])
                await _send()
        self._hosts = {spec.name: hosts[spec.name] for spec in self._topology.hosts}

    def _host(self, spec: topology.Host, bastion: Host | None) -> Host:
        network = self._networks[spec.network]
        args = HostArgs(
            settings=self._settings,
            host=spec,
            network_id=network.network_id,
            subnet_id=network.subnets[spec.subnet],
            subnet_ipv6=network.ipv6[spec.subnet] if spec.ipv6 else None,
            key_pair=self._key_pair(spec.cloud, spec.region),
            operators_key=self._operators,
            bastion=None if spec.public or bastion is None else bastion.door,
        )
        return Host(spec.name, args, self._in(spec.cloud, spec.region))

    def _publish_names(self) -> Records:
        cloud = catalogue.CLOUD_OF_DNS[self._settings.dns.provider]
        # Zones have no region; any that the stack uses at that cloud will do.
        used = [region for known, region in self._regions if known == cloud]
        region = used[0] if used else sorted(catalogue.OFFERS[cloud].zones)[0]
        args = RecordsArgs(
            records=self._topology.records,
            environment=self._settings.environment,
            dns=self._settings.dns,
            addresses={name: host.address for name, host in self._hosts.items()},
            ipv6={name: host.ipv6 for name, host in self._hosts.items() if host.ipv6},
        )
        return Records("names", args, self._in(cloud, region))

    def _make_relays(self) -> Relays:
        hosts = {spec.name: self._hosts[spec.name] for spec in self._topology.having("relay")}
        return Relays("relays", RelaysArgs(settings=self._settings, hosts=hosts))

    def _make_relay(self, name: str, records: Records, relays: Relays) -> None:
        args = RelayArgs(
            settings=self._settings,
            host=self._hosts[name],
            relays=relays,
            records=records,
            store=self._stores[name],
        )
        Relay(name, args)

    def _make_control_plane(self, records: Records, relays: Relays) -> Registry:
        home = self._stores[_BASTION]
        voters = {spec.name: self._hosts[spec.name] for spec in self._topology.voters}
        database = Database(
            "database",
            DatabaseArgs(
                settings=self._settings,
                topology=self._topology,
                hosts=voters,
                authority=self._authority,
                relays=relays,
                store=home,
            ),
        )
        pair = {spec.name: self._hosts[spec.name] for spec in self._topology.having("control")}
        headscale = HeadscalePair(
            "headscale",
            HeadscalePairArgs(
                settings=self._settings,
                topology=self._topology,
                hosts=pair,
                authority=self._authority,
                database=database,
                records=records,
                relays=relays,
                store=home,
            ),
        )
        return Registry("registry", RegistryArgs(headscale=headscale, declared=self._declared))
