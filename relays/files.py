"""Files that others read while they are written."""

from __future__ import annotations

from pathlib import Path


def replace(path: Path, text: str) -> None:
    """The whole new text or the whole old one, and everybody may read it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o644)
    part.replace(path)
