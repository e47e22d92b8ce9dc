"""A simulated cloud: any resource type of its SDK, with the rules of `lab.clouds`.

What exists is in the store. Where the lab has a world (<state>/world.json), `lab.effects` makes
it happen; otherwise the cloud is an API and nothing more.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import checks, outputs, provider, rules, schema, wire
from lab.checks import Problem
from lab.provider import Changes, Properties, Target
from lab.resource import CloudError, Effects, Hidden, Resource
from lab.rules import CloudRules, Ref, Request, TypeRules
from lab.store import Store

# What the engine itself adds to a provider's inputs.
_ENGINE_KEYS = frozenset({"version", "pluginDownloadURL", "pluginChecksums", "parameterization"})
_GENERIC = TypeRules()


class NoEffects:
    """API-only: resources exist in the store and nowhere else."""

    def created(self, resource: Resource) -> Mapping[str, Any]:
        return {}

    def updated(self, before: Resource, after: Resource) -> Mapping[str, Any]:
        return {}

    def deleted(self, resource: Resource) -> None:
        return None


class Cloud:
    """Handler of one cloud, for one provider resource and so one region."""

    def __init__(self, name: str, table: CloudRules, store: Store, effects: Effects) -> None:
        self._name = name
        self._table = table
        self._store = store
        self._effects = effects
        self._region = ""

    # The provider

    def check_config(self, inputs: Properties) -> list[Problem]:
        plain = wire.reveal(inputs)
        found = schema.provider(self._name)
        given = {k: v for k, v in plain.items() if k not in _ENGINE_KEYS and k[:2] != "__"}
        problems = [] if found is None else list(checks.problems(found, _parsed(given, found)))
        region = plain.get("region")
        if region is None:
            problems.append(Problem("region", f"is required; {self._table.region_hint}"))
        elif region is not wire.UNKNOWN and region not in self._table.zones:
            known = ", ".join(self._table.zones)
            problems.append(Problem("region", f"{region!r} is not a region; known are {known}"))
        return problems

    def configure(self, inputs: Properties) -> None:
        self._region = str(wire.reveal(inputs).get("region", ""))

    def cancel(self) -> None:
        return None

    # Preview

    def check(
        self, target: Target, olds: Properties, news: Properties
    ) -> tuple[Properties, list[Problem]]:
        found = schema.resource(target.type)
        if found is None:
            return news, [Problem("", f"{self._name} has no resource type {target.type}")]
        news = _named(self._rules(target.type), target, olds, news)
        plain = wire.reveal(news)
        problems = list(checks.problems(found, plain))
        problems += rules.missing_inputs(self._rules(target.type), plain)
        if not problems:
            request = self._request(target, plain)
            for rule in request.rules.checks:
                problems += rule(request)
        return news, problems

    def diff(
        self, target: Target, old_inputs: Properties, old_outputs: Properties, news: Properties
    ) -> Changes:
        table = self._rules(target.type)
        kinds = provider.compare(old_inputs, news)
        forcing = table.replace | {"region"} | _conditional(wire.reveal(news))
        replaces = tuple(path for path in kinds if provider.root(path) in forcing)
        name = table.auto_name
        # Two cannot bear one name, so the old one goes first where the program gave the name.
        given = bool(name) and name not in news.get("__defaults", [])
        keeps_name = given and wire.same(old_inputs.get(name), news.get(name))
        return Changes(kinds, replaces, delete_first=bool(replaces) and keeps_name)

    # Making, changing, deleting

    def create(
        self, target: Target, inputs: Properties, *, partial: str | None
    ) -> tuple[str, Properties]:
        if target.preview:
            return "", inputs
        found = _marked(target.type, inputs)
        with self._store.change():
            resource = self._add(target, found)
        try:
            if partial is not None:
                raise CloudError("NotReady", partial)
            more = self._effects.created(_revealed(resource))
        except Exception as error:
            if isinstance(error, CloudError) and not error.exists:
                self._store.forget(resource)
                raise
            raise self._init_failed(target, resource, inputs, error) from error
        resource = replace(resource, outputs={**resource.outputs, **more})
        self._store.replace(resource, ready=True)
        return resource.id, _marked(target.type, resource.outputs)

    def _add(self, target: Target, inputs: Properties) -> Resource:
        """Record a new resource, if the cloud's rules allow it."""
        request = self._request(target, wire.reveal(inputs))
        self._demand(request)
        id = request.rules.id(request)
        if self._store.get(self._name, target.type, id):
            raise CloudError("AlreadyExists", f"{id!r} exists already", exists=False)
        filled = outputs.fill(replace(request, id=id), id)
        resource = Resource(
            cloud=self._name,
            region=request.region,
            type=target.type,
            id=id,
            name=target.name,
            inputs=inputs,
            outputs={**filled, **inputs},
        )
        self._store.add(resource, rules.links(request), ready=False)
        return resource

    def _init_failed(
        self, target: Target, resource: Resource, inputs: Properties, error: Exception
    ) -> provider.InitFailedError:
        details = f"\n{error.details}" if isinstance(error, CloudError) and error.details else ""
        reason = f"{target.type} {target.name!r} ({resource.id}) is not ready: {error}{details}"
        return provider.InitFailedError(resource.id, inputs, dict(resource.outputs), reason)

    def update(
        self, target: Target, id: str, old_outputs: Properties, news: Properties
    ) -> Properties:
        if target.preview:
            return {**_computed(target.type, old_outputs), **news}
        inputs = _marked(target.type, news)
        with self._store.change():
            before = self._existing(target, id)
            request = self._request(target, wire.reveal(inputs), id)
            self._demand(request)
            # An input left out was chosen by the cloud (a private address, a zone): it stays.
            kept = {k: v for k, v in before.outputs.items() if k not in before.inputs}
            filled = outputs.refill(request, kept)
            after = replace(before, inputs=inputs, outputs={**filled, **inputs})
            was_ready = self._store.is_ready(before)
            self._store.replace(after, rules.links(request), ready=False)
        try:
            if was_ready:
                more = self._effects.updated(before, _revealed(after))
            else:  # an earlier start failed: start again
                more = self._effects.created(_revealed(after))
        except BaseException:
            self._store.replace(before, ready=was_ready)
            raise
        after = replace(after, outputs={**after.outputs, **more})
        self._store.replace(after, ready=True)
        return _marked(target.type, after.outputs)

    def delete(self, target: Target, id: str, old_outputs: Properties) -> None:
        resource = self._store.get(self._name, target.type, id)
        if resource is None:
            return
        for user, path in self._store.users(resource):
            ref = rules.ref_for(self._rules(user.type), path)
            if self._is_held(resource, user, ref):
                text = f"{id} is still used by {user.type} {user.name!r} ({user.id}) as its {path}"
                raise CloudError("DependencyViolation", text)
        request = self._request(target, resource.inputs, id)
        for rule in request.rules.deletion:
            for problem in rule(request):
                raise problem
        self._remove(resource)

    def lose(self, resource: Resource) -> None:
        """The resource ends without Pulumi's doing."""
        self._remove(resource)

    def _is_held(self, resource: Resource, user: Resource, ref: Ref | None) -> bool:
        """Whether a user of the resource stands against its deletion."""
        if ref is None or ref.on_delete == "refuse":
            return True
        force = self._rules(resource.type).force
        return ref.on_delete == "content" and not resource.inputs.get(force)

    def _remove(self, resource: Resource) -> None:
        """Delete a resource and what goes with it, such as an address's association."""
        for user, path in self._store.users(resource):
            ref = rules.ref_for(self._rules(user.type), path)
            if ref and ref.on_delete in {"cascade", "content"}:
                self._remove(user)
        self._effects.deleted(resource)
        self._store.forget(resource)

    # Reading

    def read(
        self, target: Target, id: str, inputs: Properties, old_outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        resource = self._store.get(self._name, target.type, id)
        if resource is None:
            return None
        # On import nothing is known yet: all the cloud was given comes back.
        managed = inputs or resource.inputs
        now = {key: resource.inputs[key] for key in managed if key in resource.inputs}
        outputs = self._shown(resource.outputs, old_outputs)
        return self._shown(now, inputs), _marked(target.type, outputs)

    def _shown(self, now: Mapping[str, Any], engine: Mapping[str, Any]) -> Properties:
        """What the cloud has, with the engine's own secrets where they have not changed."""
        shown = {key: self._show(value, engine.get(key)) for key, value in now.items()}
        return {key: value for key, value in shown.items() if value is not None}

    def _show(self, now: Any, engine: Any) -> Any:
        if isinstance(now, Hidden):
            return self._show_hidden(now, engine)
        if isinstance(engine, wire.Secret):
            unchanged = wire.same(now, self._store.hidden(engine))
            return engine if unchanged else wire.Secret(self._show(now, engine.value))
        if isinstance(now, Mapping):
            known = engine if isinstance(engine, Mapping) else {}
            return {key: self._show(value, known.get(key)) for key, value in now.items()}
        if isinstance(now, list):
            items = engine if isinstance(engine, list) and len(engine) == len(now) else now
            return [self._show(value, item) for value, item in zip(now, items, strict=True)]
        return now

    def _show_hidden(self, now: Hidden, engine: Any) -> Any:
        """The engine's own secret if it is still that; an import cannot bring one back."""
        if engine is None:
            return None
        secret = engine if isinstance(engine, wire.Secret) else wire.Secret(engine)
        if self._store.hidden(secret) == now:
            return engine
        return wire.Secret("(changed outside of Pulumi)")

    def invoke(self, token: str, args: Properties) -> Properties:
        plain = wire.reveal(args)
        found, function = schema.function(token), self._table.functions.get(token)
        if found is None:
            raise CloudError("NotSupported", f"{self._name} has no function {token}")
        for problem in checks.problems(found, plain):
            raise CloudError("InvalidArgument", f"{token}: {problem.reason}", problem.property)
        if function is None:
            raise CloudError("NotSupported", f"the lab does not simulate the function {token}")
        region = str(plain.get("region") or self._region)
        return {**plain, **function(self._store, region, plain)}

    # Shared

    def _rules(self, type: str) -> TypeRules:
        return self._table.types.get(type, _GENERIC)

    def _request(self, target: Target, inputs: Mapping[str, Any], id: str = "") -> Request:
        table = self._rules(target.type)
        everywhere = table.is_global or target.type.startswith(self._table.global_modules)
        region = rules.GLOBAL if everywhere else str(inputs.get("region") or self._region)
        name = target.name
        return Request(
            self._name, region, target.type, name, inputs, self._store, table, self._table, id
        )

    def _demand(self, request: Request) -> None:
        for rule in (rules.missing_references, *request.rules.demands):
            for problem in rule(request):
                problem.exists = False
                raise problem

    def _existing(self, target: Target, id: str) -> Resource:
        found = self._store.get(self._name, target.type, id)
        if found is None:
            text = f"{id!r} does not exist (deleted outside of Pulumi?); run `pulumi refresh`"
            raise CloudError("NotFound", text)
        return found


def handler(name: str, state: Path, store: Store) -> Cloud:
    """The handler of a cloud by package name."""
    table: CloudRules = importlib.import_module(f"lab.clouds.{name}").RULES
    effects: Effects = NoEffects()
    if (state / "world.json").exists():
        effects = importlib.import_module("lab.effects").effects(state, store)
    return Cloud(name, table, store, effects)


def _parsed(config: Properties, found: schema.Schema) -> Properties:
    """Provider configuration arrives as text where it is not text: JSON inside a string."""
    shapes = found.inputs.shapes
    return {
        key: wire.UNKNOWN
        if isinstance(value, str)
        and key in shapes
        and shapes[key].kind in {"list", "map", "object"}
        else value
        for key, value in config.items()
    }


def _named(table: TypeRules, target: Target, olds: Properties, news: Properties) -> Properties:
    """The inputs with a name where the program gave none: kept from before, or drawn."""
    name = table.auto_name
    if not name or news.get(name) not in (None, ""):
        return news
    drawn = name in olds.get("__defaults", [])
    made = olds[name] if drawn else f"{target.name}-{target.seed.hex()[:7] or '0000000'}"
    return {**news, name: made, "__defaults": [name]}


def _conditional(news: Mapping[str, Any]) -> frozenset[str]:
    """User data replaces a host only where its resource says so."""
    if news.get("userDataReplaceOnChange") in (True, "true"):
        return frozenset({"userData", "userDataBase64", "userDataRaw"})
    return frozenset()


def _marked(type: str, properties: Mapping[str, Any]) -> Properties:
    """The properties with those the SDK calls secret marked as such."""
    found = schema.resource(type)
    hidden = found.secrets if found else ()
    return {
        key: wire.Secret(value) if key in hidden and not wire.has_secret(value) else value
        for key, value in properties.items()
    }


def _computed(type: str, found: Mapping[str, Any]) -> Properties:
    """The outputs that are the cloud's own, not echoes of inputs."""
    known = schema.resource(type)
    inputs = known.inputs.shapes if known else {}
    return {key: value for key, value in found.items() if key not in inputs}


def _revealed(resource: Resource) -> Resource:
    return replace(
        resource, inputs=wire.reveal(resource.inputs), outputs=wire.reveal(resource.outputs)
    )
