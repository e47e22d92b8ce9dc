"""`mesh-registry`: what an operator's tools ask of the running Headscale. All answers are JSON.

Runs as root on a control host. Commands that need the running server end with status 3 and
{"active": <host or null>} where it does not run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from registry import apply, keys, nodes, policy, records, tags, users
from registry.addresses import command as addresses
from registry.live import Given, live
from registry.place import Place
from registry.server import Headscale
from registry.store import Store
from registry.trouble import ELSEWHERE, RegistryError

_NAME: Final = 100  # characters


def main(words: Sequence[str], place: Place) -> int:
    """The exit status; the answer is on standard output."""
    given = _parser().parse_args(words)
    try:
        said = given.work(given, place)
    except RegistryError as trouble:
        if trouble.status == ELSEWHERE:
            print(json.dumps({"active": place.holder()}))
        print(f"mesh-registry: {trouble}", file=sys.stderr)
        return trouble.status
    json.dump(said, sys.stdout, sort_keys=True)
    print()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mesh-registry", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text, work in (
        ("apply", "bring everything to what standard input declares", _apply),
        ("users", "every user with its nodes", live(_users)),
        ("nodes", "every node", live(_nodes)),
    ):
        commands.add_parser(name, help=text).set_defaults(work=work)
    extra = commands.add_parser("records", help="bring the extra DNS records up to date")
    extra.add_argument("--quiet", action="store_true", help="tell of a missing node once")
    extra.set_defaults(work=_records)
    _add_policy(commands.add_parser("policy", help="the policy in force, and earlier ones"))
    _add_keys(commands.add_parser("keys", help="pre-auth keys and API keys"))
    _add_tags(commands.add_parser("tags", help="tags by patterns on standard input"))
    addresses.add(commands.add_parser("addresses", help="addresses by the plan"))
    return parser


def _add_policy(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    commands.add_parser("show").set_defaults(work=live(_policy_show))
    commands.add_parser("history").set_defaults(work=live(_policy_history))
    get = commands.add_parser("get")
    get.add_argument("version", type=int)
    get.set_defaults(work=live(_policy_get))
    back = commands.add_parser("rollback")
    back.add_argument("version", type=int, nargs="?")
    back.set_defaults(work=live(_policy_rollback))


def _add_keys(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    commands.add_parser("list").set_defaults(work=live(_keys_list))
    rotate = commands.add_parser("rotate")
    rotate.add_argument("names", nargs="*", metavar="NAME")
    rotate.add_argument("--force", action="store_true", help="also those that are not due")
    rotate.add_argument("--dry-run", action="store_true")
    rotate.set_defaults(work=live(_keys_rotate))
    show = commands.add_parser("show")
    show.add_argument("name")
    show.add_argument("--to", type=_somebody, help="who keeps it, in a file of mode 600")
    show.set_defaults(work=live(_keys_show))


def _add_tags(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    for name, work in (("plan", _tags_plan), ("apply", _tags_apply)):
        one = commands.add_parser(name)
        one.add_argument("--convert", action="store_true", help="nodes of users, too")
        one.set_defaults(work=live(work))


def _apply(_: Given, place: Place) -> dict[str, Any]:
    return apply.run(place, sys.stdin.read())


def _records(given: Given, place: Place) -> dict[str, Any]:
    return records.run(place, quiet=given.quiet)


def _users(_: Given, server: Headscale, store: Store) -> dict[str, Any]:
    return {"users": users.listed(server, list(store.read()[1].get("users", {})))}


def _nodes(_: Given, server: Headscale, __: Store) -> dict[str, Any]:
    return {"nodes": nodes.listed(server)}


def _policy_show(_: Given, server: Headscale, store: Store) -> dict[str, Any]:
    return policy.shown(server, store)


def _policy_history(_: Given, __: Headscale, store: Store) -> dict[str, Any]:
    return {"versions": store.policies()}


def _policy_get(given: Given, _: Headscale, store: Store) -> dict[str, Any]:
    return {"version": given.version, "text": store.policy(given.version)}


def _policy_rollback(given: Given, server: Headscale, store: Store) -> dict[str, Any]:
    with store.changing():
        return policy.roll_back(server, store, given.version)


def _keys_list(_: Given, server: Headscale, store: Store) -> dict[str, Any]:
    kept, now = store.read()[1], time.time()
    return {
        kind.name: keys.listed(kind, kept.get(kind.name, {}), kind.live(server), now)
        for kind in keys.KINDS
    }


def _keys_rotate(given: Given, server: Headscale, store: Store) -> dict[str, Any]:
    """Replaces the keys that are due; with --force the named ones, or all."""
    done: dict[str, Any] = {"rotated": [], "kept": []}
    with store.changing():
        digest, kept = store.read()
        _refuse_unknown(given.names, kept)
        for kind in keys.KINDS:
            records, known, now = kept.get(kind.name, {}), kind.live(server), time.time()
            for name, record in sorted(records.items()):
                named = not given.names or name in given.names
                late = given.force or keys.due(record, record["spec"], known, now)
                done["rotated" if named and late else "kept"].append(name)
                if named and late and not given.dry_run:
                    keys.replace(server, kind, record["spec"], kept["users"], records, known)
                    store.write(digest, kept)
    return done


def _refuse_unknown(names: Sequence[str], kept: dict[str, Any]) -> None:
    known = sorted(name for kind in keys.KINDS for name in kept.get(kind.name, {}))
    for name in names:
        if name not in known:
            raise RegistryError(f"there is no key {name!r}; choose from {', '.join(known)}")


def _keys_show(given: Given, server: Headscale, store: Store) -> dict[str, Any]:
    """One that is handed out once counts as handed out before it is told."""
    with store.changing():
        digest, kept = store.read()
        _refuse_unknown([given.name], kept)
        for kind in keys.KINDS:
            record = kept.get(kind.name, {}).get(given.name)
            if record:
                ends = keys.expires(record, kind.live(server))
                if keys.once(record["spec"]):
                    keys.hand_over(given.name, record, given.to, time.time())
                    store.write(digest, kept)
                return {"name": given.name, "key": record["key"], "expires": ends}
    raise RegistryError(f"key {given.name} was never made; run `pulumi up`")


def _somebody(text: str) -> str:
    """A name for people to read, no key and no control characters."""
    if not 0 < len(text) <= _NAME or not text.isprintable():
        raise argparse.ArgumentTypeError(f"1 to {_NAME} printable characters")
    return text


def _tags_plan(given: Given, server: Headscale, __: Store) -> dict[str, Any]:
    patterns = json.load(sys.stdin)["tags"]
    return tags.plan(nodes.listed(server), patterns, convert=given.convert)


def _tags_apply(given: Given, server: Headscale, store: Store) -> dict[str, Any]:
    with store.changing():
        return tags.apply(server, json.load(sys.stdin)["tags"], convert=given.convert)


HERE: Final = Place()

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE))
