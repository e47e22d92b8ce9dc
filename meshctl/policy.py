"""What is known of the files under policy/ without asking a server.

The one module that knows how they are read: the commands see lists of lines only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from mesh import access, hujson, registry
from meshctl.trouble import MeshctlError

Reach = dict[str, dict[str, str]]  # source → destination → ports

POLICY: Final = "policy.hujson"


def faults(folder: Path) -> list[str]:
    """What is wrong with the files, a line each; empty when `pulumi up` would take them."""
    try:
        registry.load(folder)
    except registry.RegistryError as error:
        return str(error).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{folder}: {error}"]
    return []


def text(folder: Path) -> str:
    """The policy as it is written there. Raises MeshctlError."""
    try:
        return (folder / POLICY).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MeshctlError(f"{folder / POLICY}: {error}") from None


def tags(folder: Path) -> list[dict[str, Any]]:
    """The patterns of tags.yaml, as mesh-registry reads them. Raises MeshctlError."""
    try:
        declared = registry.load(folder)
    except (registry.RegistryError, OSError, UnicodeDecodeError) as error:
        raise MeshctlError(str(error)) from None
    return [pattern.model_dump(mode="json") for pattern in declared.tags]


def reach(policy: str) -> Reach:
    """What every source of a policy reaches. Raises MeshctlError."""
    return access.reach(_read(policy))


def difference(before: str, after: str) -> tuple[list[str], list[str]]:
    """What a change opens and what it closes, a line each. Raises MeshctlError."""
    opens, closes = access.difference(_read(before), _read(after))
    return list(opens), list(closes)


def _read(policy: str) -> access.Policy:
    try:
        return access.Policy(hujson.parse(policy).value)
    except hujson.HujsonError as error:
        raise MeshctlError(f"the policy cannot be read: {error}; `meshctl policy check`") from None
