"""`mesh-registry addresses plan|apply|undo`."""

from __future__ import annotations

import argparse
from typing import Any

from registry.addresses import config
from registry.addresses.work import Work
from registry.live import Given, live
from registry.server import Headscale
from registry.store import Store


def add(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    commands.add_parser("plan", help="who would move").set_defaults(work=live(_plan))
    commands.add_parser("apply", help="place everybody").set_defaults(work=live(_apply))
    undo = commands.add_parser("undo", help="put a change's addresses back")
    undo.add_argument("number", nargs="?", help="which change; the last one without it")
    undo.set_defaults(work=live(_undo))


def _plan(_: Given, server: Headscale, store: Store) -> dict[str, Any]:
    work = Work(config.load(store.place.addresses), server, store)
    return work.told(work.plan())


def _apply(_: Given, server: Headscale, store: Store) -> dict[str, Any]:
    with store.changing():
        return Work(config.load(store.place.addresses), server, store).apply()


def _undo(given: Given, server: Headscale, store: Store) -> dict[str, Any]:
    with store.changing():
        return Work(config.load(store.place.addresses), server, store).undo(given.number)
