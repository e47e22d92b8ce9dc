"""What a cloud adds to a resource: the outputs that are not echoes of its inputs."""

from __future__ import annotations

from typing import Any, Final

from lab import schema
from lab.provider import Properties
from lab.rules import Request

_EMPTY: Final[dict[str, Any]] = {"bool": False, "int": 0, "number": 0}
ACCOUNT: Final = "100000000000"  # the lab's account number at every cloud


def fill(request: Request, id: str) -> Properties:
    """Every output of a new resource; those its rules do not know get an empty value."""
    return {
        **_generic(request, id),
        **request.rules.outputs(request, id),
        **_derived(request, id),
    }


def refill(request: Request, kept: Properties) -> Properties:
    """The outputs after an update: as they were, but for those that follow the inputs."""
    return {**kept, **_derived(request, request.id)}


def _derived(request: Request, id: str) -> Properties:
    found = schema.resource(request.type)
    tags = {"tagsAll": request.inputs.get("tags") or {}}
    return {
        **(tags if found and "tagsAll" in found.outputs else {}),
        **request.rules.derived(request, id),
    }


def _generic(request: Request, id: str) -> Properties:
    found = schema.resource(request.type)
    if found is None:
        return {}
    result: Properties = {}
    for name, shape in found.outputs.items():
        if name in found.inputs.shapes:
            if name == "region":
                result[name] = request.region
        elif name == "arn":
            service = request.type.split(":")[1].split("/")[0]
            result[name] = f"arn:{request.cloud}:{service}:{request.region}:{ACCOUNT}:{id}"
        elif name == "ownerId":
            result[name] = ACCOUNT
        elif shape.kind in _EMPTY:
            result[name] = _EMPTY[shape.kind]
        elif shape.kind in {"list", "map"}:
            result[name] = [] if shape.kind == "list" else {}
    return result
