"""One bucket from which hosts fetch their programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components import clouds
from mesh import artifacts
from mesh.artifacts import Artifact
from mesh.secrets import ArtifactSource
from mesh.topology import Role


@dataclass(frozen=True, kw_only=True)
class ArtifactStoreArgs:
    """What a store holds, and the stack it belongs to. `zone` makes the bucket's name unique."""

    plan: artifacts.Store
    artifacts: Mapping[str, Artifact]
    environment: str
    zone: str


class ArtifactStore(pulumi.ComponentResource):
    """Public objects, each under the hash of its content; they are open-source programs.

    Produces: the source (address and hash) of each program of the plan.
    """

    plan: artifacts.Store
    base_url: pulumi.Output[str]

    def __init__(
        self, name: str, args: ArtifactStoreArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mesh:artifacts:ArtifactStore", name, None, opts)
        self.plan = plan = args.plan
        self._artifacts = {name: args.artifacts[name] for name in plan.artifacts}
        self.base_url = clouds.of(plan.cloud).bucket(
            name,
            artifacts.bucket_name(args.environment, args.zone, plan.region),
            plan.region,
            {artifact.key: artifact.path for artifact in self._artifacts.values()},
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"baseUrl": self.base_url})

    def sources(self, role: Role) -> pulumi.Output[dict[str, ArtifactSource]]:
        """The sources of all programs of a role, by name."""
        return pulumi.Output.all(**{name: self.source(name) for name in artifacts.NEEDED[role]})

    def source(self, name: str) -> pulumi.Output[ArtifactSource]:
        """Where the program is fetched from; KeyError for one the store does not hold."""
        artifact = self._artifacts[name]
        return self.base_url.apply(
            lambda base: ArtifactSource(url=f"{base}/{artifact.key}", sha256=artifact.sha256)
        )
