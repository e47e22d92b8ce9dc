"""Which Debian archive this machine uses, and how it asks for it.

The lab takes packages from where the machine's own apt takes them and names no host itself.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.world.command import run
from lab.world.errors import WorldError

_ETC: Final = Path("/etc/apt")
_ARCHIVES: Final = {"debian", "debian-security"}
_RELAXED: Final = {
    "Check-Valid-Until": "Acquire::Check-Valid-Until",
    "Check-Date": "Acquire::Check-Date",
}


@dataclass(frozen=True)
class Source:
    """One archive: a base URI and what is taken from it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def host(self) -> str:
        return urllib.parse.urlsplit(self.uri).netloc


def sources() -> list[Source]:
    """The machine's Debian archives; WorldError when its apt names none."""
    files = [_ETC / "sources.list", *sorted((_ETC / "sources.list.d").glob("*"))]
    found = [source for file in files for source in _read(file) if _is_debian(source)]
    if not found:
        raise WorldError(
            "this machine's apt names no Debian archive", "see /etc/apt/sources.list.d"
        )
    return found


def as_text(found: list[Source]) -> str:
    """The sources as a deb822 file for a host's /etc/apt/sources.list.d.

    Where this machine does not insist on fresh dates (its archive is a snapshot), neither do
    the hosts.
    """
    relaxed = "".join(f"{field}: no\n" for field, option in _RELAXED.items() if _is_off(option))
    return "\n".join(
        f"Types: deb\nURIs: {source.uri}\nSuites: {' '.join(source.suites)}\n"
        f"Components: {' '.join(source.components)}\n"
        + (f"Signed-By: {source.signed_by}\n" if source.signed_by else "")
        + relaxed
        for source in found
    )


def proxy() -> str:
    """The proxy through which the machine's apt asks its archives; empty for none."""
    found = _option("Acquire::http::Proxy")
    return "" if found == "DIRECT" else found


def _is_off(option: str) -> bool:
    return _option(option).lower() in {"false", "no", "0", "off"}


def _option(name: str) -> str:
    return run(["apt-config", "dump", "--format=%v", name]).stdout.strip()


def _is_debian(source: Source) -> bool:
    """Debian's own archive and not somebody's repository for Debian."""
    last = urllib.parse.urlsplit(source.uri).path.rstrip("/").rpartition("/")[2]
    signed = not source.signed_by or "debian-archive" in source.signed_by
    return last in _ARCHIVES and "main" in source.components and signed


def _read(file: Path) -> Iterator[Source]:
    if file.suffix == ".sources":
        yield from _read_deb822(file.read_text())
    elif file.suffix == ".list" and file.exists():
        yield from _read_list(file.read_text())


def _read_deb822(text: str) -> Iterator[Source]:
    for stanza in text.split("\n\n"):
        fields = {}
        for line in stanza.splitlines():
            name, colon, value = line.partition(":")
            if colon and not line.startswith(("#", " ")):
                fields[name.lower()] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") == "yes":
            for uri in fields.get("uris", "").split():
                suites, components = fields.get("suites", ""), fields.get("components", "")
                key = fields.get("signed-by", "")
                yield Source(uri, tuple(suites.split()), tuple(components.split()), key)


def _read_list(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] != ["deb"]:
            continue
        key = ""
        if words[1].startswith("["):
            end = next(index for index, word in enumerate(words) if word.endswith("]"))
            options = " ".join(words[1 : end + 1]).strip("[]").split()
            key = next((o.partition("=")[2] for o in options if o.startswith("signed-by=")), "")
            del words[1 : end + 1]
        _, uri, suite, *components = words
        yield Source(uri, (suite,), tuple(components), key)
