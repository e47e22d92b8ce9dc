"""What a resource type or function takes and gives, read from the source of its Python SDK.

No wheel carries a machine-readable schema, and importing an SDK costs seconds, so the classes
are read with `ast`, one token at a time, and kept as JSON under `~/.cache/mesh/schema`, by SDK
version: 5 to 50 ms the first time, 0.1 ms afterwards.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from lab import stubs

PACKAGES: Final = {
    "alicloud": "pulumi_alicloud",
    "tencentcloud": "tencentcloud_iac_pulumi",
    "aws": "pulumi_aws",
    "command": "pulumi_command",
    "random": "pulumi_random",
    "tls": "pulumi_tls",
}
_FORMAT: Final = 1  # of the cached JSON; raise it when the dataclasses below change
_SCALARS: Final = {"str": "string", "bool": "bool", "int": "int", "float": "number"}
_TRANSPARENT: Final = {"Input", "Output", "Optional", "NotRequired", "InputType"}


@dataclass(frozen=True)
class Shape:
    """The kind of a property: string, bool, int, number, asset, any, list, map or object."""

    kind: str
    item: Shape | None = None  # of a list or a map
    object: str = ""  # name of an object type, a key of `Schema.objects`


@dataclass(frozen=True)
class Fields:
    """Named properties and which of them must be given."""

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """One resource type or one function."""

    inputs: Fields
    outputs: Mapping[str, Shape]
    secrets: tuple[str, ...]  # outputs the SDK marks secret
    objects: Mapping[str, Fields]  # nested input types


@functools.cache
def resource(token: str) -> Schema | None:
    """The resource type "pkg:module/name:Name"; None when the SDK has none of that token."""
    return _cached(token, _read_resource)


@functools.cache
def function(token: str) -> Schema | None:
    """The function "pkg:module/getName:getName"; None when the SDK has none of that token."""
    return _cached(token, _read_function)


@functools.cache
def provider(package: str) -> Schema | None:
    """The configuration of a package's provider resource."""
    return _cached(f"{package}:provider:Provider", _read_resource)


# Reading the source


@dataclass(frozen=True)
class _Source:
    path: Path
    tree: ast.Module

    def find_class(self, name: str) -> ast.ClassDef | None:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return node
        return None


def _root(package: str) -> Path:
    return stubs.site_packages() / PACKAGES[package]


def _snake(name: str) -> str:
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def _source(token: str) -> _Source | None:
    package, module, name = token.split(":")
    if module == "provider":
        return _parse(_root(package) / "provider.py")
    folder = module.split("/")[0].lower() if "/" in module else module
    base = _root(package) / ("" if folder == "index" else folder)
    likely = [base / f"{_snake(part)}.py" for part in (module.split("/")[-1], name)]
    for path in (*likely, *sorted(base.glob("*.py"))):
        if path.is_file() and f"'{token}'" in path.read_text():
            return _parse(path)
    # command's tokens say "command:remote:Command" in the decorator only
    for path in likely:
        if path.is_file() and f'"{token}"' in path.read_text():
            return _parse(path)
    return None


def _parse(path: Path) -> _Source:
    return _Source(path, ast.parse(path.read_text()))


def _shape(node: ast.expr) -> Shape:
    """The shape an annotation stands for."""
    if isinstance(node, ast.Subscript):
        return _subscript_shape(_last_name(node.value), node.slice)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        name = node.value.split(".")[-1]
        is_input = name.endswith("Args") and not node.value.startswith("outputs.")
        return Shape("object", object=name) if is_input else Shape("any")
    name = _last_name(node)
    if name in {"Asset", "Archive"}:
        return Shape("asset")
    return Shape(_SCALARS.get(name, "any"))


def _subscript_shape(name: str, inner: ast.expr) -> Shape:
    if name in _TRANSPARENT:
        return _shape(inner)
    if name in {"Sequence", "List"}:
        return Shape("list", item=_shape(inner))
    if isinstance(inner, ast.Tuple):
        if name == "Union":  # of a type and its dictionary twin, or of a string and an enum
            return _shape(inner.elts[0])
        if name in {"Mapping", "Dict"}:
            return Shape("map", item=_shape(inner.elts[1]))
    return Shape("any")


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _getters(cls: ast.ClassDef) -> dict[str, tuple[str, Shape]]:
    """Python name → (property name, shape) of the class's `@pulumi.getter` properties."""
    found = {}
    for member in cls.body:
        if not isinstance(member, ast.FunctionDef) or member.returns is None:
            continue
        for decorator in member.decorator_list:
            if isinstance(decorator, ast.Call) and _last_name(decorator.func) == "getter":
                name = ast.literal_eval(decorator.keywords[0].value)
                found[member.name] = (name, _shape(member.returns))
            elif isinstance(decorator, ast.Attribute) and decorator.attr == "getter":
                found[member.name] = (member.name, _shape(member.returns))
    return found


def _fields(cls: ast.ClassDef) -> Fields:
    """The properties of an input class; those without a default are required."""
    getters = _getters(cls)
    required = []
    for member in cls.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            pairs = zip(member.args.kwonlyargs, member.args.kw_defaults, strict=True)
            required = [arg.arg for arg, default in pairs if default is None]
    return Fields(
        shapes=dict(getters.values()),
        required=tuple(getters[name][0] for name in required if name in getters),
    )


def _secret_outputs(cls: ast.ClassDef) -> tuple[str, ...]:
    for node in ast.walk(cls):
        if isinstance(node, ast.keyword) and node.arg == "additional_secret_outputs":
            return tuple(ast.literal_eval(node.value))
    return ()


def _read_resource(token: str) -> Schema | None:
    source = _source(token)
    name = token.rsplit(":", maxsplit=1)[-1]
    resource_class = source.find_class(name) if source else None
    if source is None or resource_class is None:
        return None
    args = source.find_class(f"{name}Args")
    inputs = _fields(args) if args else Fields()
    return Schema(
        inputs=inputs,
        outputs=dict(_getters(resource_class).values()),
        secrets=_secret_outputs(resource_class),
        objects=_objects(source.path.parent / "_inputs.py", inputs),
    )


def _read_function(token: str) -> Schema | None:
    source = _source(token)
    name = token.rsplit(":", maxsplit=1)[-1]
    if source is None:
        return None
    inputs = _parameters(source.tree, _snake(name))
    result = source.find_class(f"{name[0].upper()}{name[1:]}Result")
    return Schema(
        inputs=inputs,
        outputs=dict(_getters(result).values()) if result else {},
        secrets=(),
        objects=_objects(source.path.parent / "_inputs.py", inputs),
    )


def _parameters(tree: ast.Module, name: str) -> Fields:
    """The arguments of a function: `__args__['imageId'] = image_id` names the property."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            break
    else:
        return Fields()
    shapes = {a.arg: _shape(a.annotation) for a in node.args.args if a.annotation}
    optional = {a.arg for a in node.args.args[len(node.args.args) - len(node.args.defaults) :]}
    names = {}
    for statement in node.body:
        if not isinstance(statement, ast.Assign):
            continue
        target = statement.targets[0]
        if isinstance(target, ast.Subscript) and _last_name(target.value) == "__args__":
            names[ast.literal_eval(target.slice)] = _last_name(statement.value)
    return Fields(
        shapes={name: shapes[arg] for name, arg in names.items()},
        required=tuple(name for name, arg in names.items() if arg not in optional),
    )


def _objects(path: Path, inputs: Fields) -> dict[str, Fields]:
    """The nested input types that `inputs` leads to, by name."""
    waiting = list(_object_names(inputs))
    if not waiting or not path.is_file():
        return {}
    text = path.read_text()
    found: dict[str, Fields] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        # Only the class's own lines are parsed: all of ec2/_inputs.py (1.3 MB) takes 2 s.
        match = re.search(rf"^class {name}:\n(?:.*\n)*?(?=^\S|\Z)", text, re.MULTILINE)
        if match is None:
            continue
        cls = ast.parse(match.group()).body[0]
        assert isinstance(cls, ast.ClassDef)
        found[name] = _fields(cls)
        waiting.extend(_object_names(found[name]))
    return found


def _object_names(fields: Fields) -> Iterator[str]:
    for shape in fields.shapes.values():
        inner: Shape | None = shape
        while inner is not None:
            if inner.object:
                yield inner.object
            inner = inner.item


# Keeping it


def _cache_folder(package: str) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = PACKAGES[package]
    installed = next(stubs.site_packages().glob(f"{name}-*.dist-info"), None)
    version = installed.name.removesuffix(".dist-info") if installed else name
    return base / "mesh" / "schema" / f"{version}-{_FORMAT}"


def _cached(token: str, read: Any) -> Schema | None:
    package = token.split(":", maxsplit=1)[0]
    if package not in PACKAGES:
        return None
    path = _cache_folder(package) / (re.sub(r"\W", "_", token) + ".json")
    try:
        return _from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        found: Schema | None = read(token)
    if found is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(asdict(found), file)
        Path(file.name).replace(path)  # several plugins may write the same one at once
    return found


def _from_json(data: dict[str, Any]) -> Schema:
    return Schema(
        inputs=_fields_from_json(data["inputs"]),
        outputs={name: _shape_from_json(s) for name, s in data["outputs"].items()},
        secrets=tuple(data["secrets"]),
        objects={name: _fields_from_json(f) for name, f in data["objects"].items()},
    )


def _fields_from_json(data: dict[str, Any]) -> Fields:
    shapes = {name: _shape_from_json(shape) for name, shape in data["shapes"].items()}
    return Fields(shapes, tuple(data["required"]))


def _shape_from_json(data: dict[str, Any]) -> Shape:
    item = data["item"]
    return Shape(data["kind"], _shape_from_json(item) if item else None, data["object"])
