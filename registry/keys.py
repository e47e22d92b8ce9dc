"""Pre-auth keys and API keys: each declared one exists, and is replaced before it ends.

A replaced key stays valid until its own end, so that an installer that holds it does not fail:
`rotate_before_hours` is how long both work. A key whose terms changed, or that is no longer
declared, is ended at once: nobody shall join on terms that are no longer wanted.

How a key is handed out is no term of it: with the outputs of the stack, or once, into a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from registry.server import Headscale, seconds
from registry.trouble import RegistryError

HOUR: Final = 3600
# How long, and how it is handed out; not what for.
_NO_TERMS: Final = ("expiration_hours", "rotate_before_hours", "hand_out")
_PREFIX: Final = 12  # characters of an API key's name
_API: Final = "hskey-api-"

Spec = Mapping[str, Any]
Record = dict[str, Any]  # {"spec", "id", "key", "earlier": [ids], "handed": {"at", "to"}}
Records = dict[str, Record]
Live = Mapping[int, Mapping[str, Any]]  # Headscale's own list, by id


@dataclass(frozen=True)
class Kind:
    """Pre-auth keys or API keys."""

    name: str  # in the declaration and in what is kept
    words: str  # Headscale's
    create: Callable[[Headscale, Spec, Mapping[str, int]], tuple[int, str]]

    def live(self, server: Headscale) -> Live:
        """The keys that the server has."""
        return {key["id"]: key for key in server.listed(self.words)}

    def end(self, server: Headscale, number: int) -> None:
        """Make one worthless; one that is gone is so already."""
        try:
            server.run(f"end key {number}", self.words, "expire", "--id", str(number))
        except RegistryError as trouble:
            if "not found" not in str(trouble):
                raise


def bring(
    server: Headscale,
    kind: Kind,
    wanted: Sequence[Spec],
    users: Mapping[str, int],
    kept: Records,
    save: Callable[[], None],
) -> list[str]:
    """Brings `kept` to what is wanted; the names of the keys that were made.

    `save` keeps the records after each key, for the next one may fail.
    """
    live, now, names = kind.live(server), time.time(), {spec["name"] for spec in wanted}
    for name in [name for name in kept if name not in names]:
        _end(server, kind, [kept[name]["id"], *kept[name]["earlier"]], live)
        del kept[name]
        save()
    made = []
    for spec in wanted:
        record = kept.get(spec["name"])
        if record and not due(record, spec, live, now):
            record["spec"] = dict(spec)
            continue
        replace(server, kind, spec, users, kept, live)
        made.append(str(spec["name"]))
        save()
    return made


def replace(
    server: Headscale,
    kind: Kind,
    spec: Spec,
    users: Mapping[str, int],
    kept: Records,
    live: Live,
) -> None:
    """Make a key anew. The earlier one stays valid, unless its terms are no longer wanted."""
    record = kept.get(spec["name"])
    number, key = kind.create(server, spec, users)
    earlier = [record["id"], *record["earlier"]] if record else []
    earlier = [old for old in earlier if old in live]
    if record and _terms(record["spec"]) != _terms(spec):
        _end(server, kind, earlier, live)
        earlier = []
    kept[spec["name"]] = {"spec": dict(spec), "id": number, "key": key, "earlier": earlier}


def due(record: Record, spec: Spec, live: Live, now: float) -> bool:
    """Whether a key must be replaced: by other terms, by age, because it cannot be used, or because
    only one shall know it and the outputs of the stack have had it.
    """
    return (
        _terms(record["spec"]) != _terms(spec)
        or (once(spec) and not once(record["spec"]))
        or record["spec"]["expiration_hours"] != spec["expiration_hours"]
        or _state(record, live, now) != "valid"
        or expires(record, live) - now < spec.get("rotate_before_hours", 0) * HOUR
    )


def listed(kind: Kind, records: Records, live: Live, now: float) -> list[dict[str, Any]]:
    """Every declared key without the key itself. Times are seconds since the epoch; `rotates` is
    when it is due."""
    return [
        {
            "name": name,
            "id": record["id"],
            "created": seconds(live.get(record["id"], {}).get("created_at")),
            "expires": expires(record, live),
            "rotates": expires(record, live) - record["spec"].get("rotate_before_hours", 0) * HOUR,
            "used": bool(live.get(record["id"], {}).get("used")),
            "state": _state(record, live, now),
            "hand_out": "file" if once(record["spec"]) else "output",
            "handed": record.get("handed"),
        }
        for name, record in sorted(records.items())
    ]


def once(spec: Spec) -> bool:
    """Whether it is handed out once, into a file, and else nowhere."""
    return bool(spec.get("hand_out") == "file")


def hand_over(name: str, record: Record, to: str | None, now: float) -> None:
    """Note in the record who gets a key that is handed out once. RegistryError when somebody has
    had it, or when `to` is nobody, who keeps no file.
    """
    fetch, renew = f"meshctl keys show {name} --file PATH", f"meshctl keys rotate {name} --force"
    if handed := record.get("handed"):
        at = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(handed["at"]))
        raise RegistryError(
            f"key {name} was handed out at {at} to {handed['to']}, which happens once; ask there,"
            f" or make a new one: `{renew}`, then `{fetch}`"
        )
    if not to:
        raise RegistryError(f"key {name} is handed out once, into a file only: `{fetch}`")
    record["handed"] = {"at": now, "to": to}


def expires(record: Record, live: Live) -> float:
    """When it ends; 0 when the server does not have it."""
    return seconds(live.get(record["id"], {}).get("expiration"))


def _end(server: Headscale, kind: Kind, numbers: Sequence[int], live: Live) -> None:
    for number in numbers:
        if number in live:
            kind.end(server, number)


def _terms(spec: Spec) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in _NO_TERMS}


def _state(record: Record, live: Live, now: float) -> str:
    key = live.get(record["id"])
    if key is None:
        return "gone"
    if seconds(key.get("expiration")) <= now:
        return "expired"
    if key.get("used") and not record["spec"].get("reusable", True):
        return "used"
    return "valid"


def _create_pre_auth(server: Headscale, spec: Spec, users: Mapping[str, int]) -> tuple[int, str]:
    name = spec["name"]
    options = ["--expiration", f"{spec['expiration_hours']}h"]
    if spec.get("user"):
        if spec["user"] not in users:
            raise RegistryError(f"create key {name}: user {spec['user']} is not among the users")
        options += ["--user", str(users[spec["user"]])]
    if spec.get("tags"):
        options += ["--tags", ",".join(spec["tags"])]
    options += [f"--{flag}" for flag in ("reusable", "ephemeral") if spec.get(flag)]
    made = server.answer(f"create key {name}", "preauthkeys", "create", *options)
    return int(made["id"]), str(made["key"])


def _create_api(server: Headscale, spec: Spec, _: Mapping[str, int]) -> tuple[int, str]:
    """Headscale tells the key only; its id is found by the prefix in the list."""
    name = spec["name"]
    words = ("apikeys", "create", "--expiration", f"{spec['expiration_hours']}h")
    key = server.run(f"create API key {name}", *words).strip().splitlines()[-1]
    prefix = key.removeprefix(_API)[:_PREFIX]
    for known in server.listed("apikeys"):
        if str(known.get("prefix", "")).removeprefix(_API)[:_PREFIX] == prefix:
            return int(known["id"]), key
    raise RegistryError(f"create API key {name}: the server does not list it")


PRE_AUTH: Final = Kind("keys", "preauthkeys", _create_pre_auth)
API: Final = Kind("api_keys", "apikeys", _create_api)
KINDS: Final = (PRE_AUTH, API)
