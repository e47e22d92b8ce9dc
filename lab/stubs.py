"""The gRPC stubs of the pulumi wheel, loaded without running `pulumi/__init__.py`.

Importing pulumi itself costs 0.5 s, the stubs 0.15 s; a plugin starts once per provider resource.
Everything here is `Any` to the type checker: grpc ships no types, and the stubs are generated.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def site_packages() -> Path:
    """The directory the pulumi wheel is installed in; ImportError when there is none."""
    for entry in sys.path:
        if entry and (Path(entry) / "pulumi" / "runtime" / "proto").is_dir():
            return Path(entry)
    raise ImportError("the pulumi wheel is not on sys.path")


@contextmanager
def _bare_packages() -> Iterator[None]:
    """Stand in for `pulumi` and `pulumi.runtime` while the stubs are imported."""
    if "pulumi" in sys.modules:
        yield
        return
    root = site_packages() / "pulumi"
    places = {"pulumi": root, "pulumi.runtime": root / "runtime"}
    for name, place in places.items():
        module = types.ModuleType(name)
        module.__path__ = [str(place)]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in places:  # so that a later `import pulumi` gets the real one
            del sys.modules[name]


def _load(name: str) -> Any:
    return importlib.import_module(name)


with _bare_packages():
    grpc: Any = _load("grpc")
    provider: Any = _load("pulumi.runtime.proto.provider_pb2")
    provider_grpc: Any = _load("pulumi.runtime.proto.provider_pb2_grpc")
    plugin: Any = _load("pulumi.runtime.proto.plugin_pb2")
    engine: Any = _load("pulumi.runtime.proto.engine_pb2")
    engine_grpc: Any = _load("pulumi.runtime.proto.engine_pb2_grpc")

struct: Any = _load("google.protobuf.struct_pb2")
any_message: Any = _load("google.protobuf.any_pb2")
empty: Any = _load("google.protobuf.empty_pb2")
status: Any = _load("google.rpc.status_pb2")
