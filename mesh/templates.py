"""Files of a host, from the trees under roles/: named and shaped as they are on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import jinja2

ROOT: Final = Path(__file__).resolve().parent.parent / "roles"

# A value that is missing is an error, never an empty string. Nothing here is HTML.
_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOT),
    undefined=jinja2.StrictUndefined,
    autoescape=False,
    keep_trailing_newline=True,
)


def render(role: str, path: str, **values: Any) -> str:
    """The file `path` (as on the host) of a role, from its template `path`.j2."""
    return _ENVIRONMENT.get_template(f"{role}{path}.j2").render(**values)


def text(role: str, path: str) -> str:
    """The file `path` (as on the host) of a role that is the same on every host."""
    return (ROOT / role / path.removeprefix("/")).read_text(encoding="utf-8")
