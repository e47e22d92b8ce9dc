"""What commands that need the running Headscale have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from registry.place import Place
from registry.server import Headscale
from registry.store import Store
from registry.trouble import ELSEWHERE, RegistryError

Given = argparse.Namespace
Work = Callable[[Given, Headscale, Store], dict[str, Any]]


def live(work: Work) -> Callable[[Given, Place], dict[str, Any]]:
    """`work` where Headscale runs; RegistryError with status 3 elsewhere."""

    def done(given: Given, place: Place) -> dict[str, Any]:
        if not place.active():
            raise RegistryError("Headscale does not run on this host", ELSEWHERE)
        with Store(place) as store:
            return work(given, Headscale(place), store)

    return done
