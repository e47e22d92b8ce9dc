"""Makes a cloud's SDK import only what is used: half of a preview's time otherwise.

A service package of an SDK (pulumi_aws.ec2) imports each of its hundreds of resources at the
first touch. `install` puts modules in their place that import single files on demand, and run
the package as it was written when a name is not found that way. Without it all works the same.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package that has not been run; its names come from its files one by one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "outputs":
            raise AttributeError(name)  # a file of the package: Python then imports it itself
        file = _file(name)
        if (Path(self.__path__[0]) / f"{file}.py").exists():
            found = vars(importlib.import_module(f"{self.__name__}.{file}"))
            if name in found:
                return found[name]
        return self._whole(name)

    def _whole(self, name: str) -> Any:
        """The name from the package as it was written."""
        spec = self.__spec__
        if spec is None or spec.loader is None:
            raise AttributeError(name)
        object.__setattr__(self, "__class__", ModuleType)  # from now on an ordinary package
        spec.loader.exec_module(self)
        return getattr(self, name)


def _file(name: str) -> str:
    """The file that the SDKs' generator puts a name in: SnatEntry → snat_entry."""
    if name.endswith("Args"):
        return "_inputs"
    if name.startswith("get_"):
        return name.removesuffix("_output")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def install(sdk: ModuleType, *services: str) -> None:
    """Make the service packages of an imported SDK lean, unless they have been run already."""
    for service in services:
        full_name = f"{sdk.__name__}.{service}"
        path = Path(str(sdk.__file__)).parent / service
        spec = importlib.util.spec_from_file_location(
            full_name, path / "__init__.py", submodule_search_locations=[str(path)]
        )
        if spec is None or type(sys.modules.get(full_name)) is ModuleType:
            continue
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _Package
        sys.modules[full_name] = module
        setattr(sdk, service, module)
