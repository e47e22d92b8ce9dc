"""The random provider: passwords, strings, bytes, ids, names; all from the system's randomness.

A value lives in Pulumi's state and is made again only when an input (`keepers` above all)
changes, which replaces the resource.
"""

from __future__ import annotations

import base64
import math
import secrets
import string
import uuid
import warnings
from collections.abc import Mapping
from typing import Any, Final

from lab.checks import Problem
from lab.provider import Properties
from lab.stateless import Kind, Stateless

_SPECIAL: Final = "!@#$%&*()-_=+[]{}<>:?"  # documented by the provider
_CLASSES: Final = ("lower", "upper", "numeric", "special")
_TEXT_DEFAULTS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(_CLASSES, True),
    **{f"min{name.capitalize()}": 0 for name in _CLASSES},
}
_ADVERBS: Final = ("calmly", "deeply", "early", "fairly", "gladly", "hardly", "kindly", "neatly")
_ADJECTIVES: Final = ("amber", "brave", "civil", "eager", "frank", "quiet", "rapid", "sunny")
_ANIMALS: Final = ("badger", "crane", "heron", "lynx", "marten", "otter", "robin", "stork")


def handler() -> Stateless:
    """The handler for every type this module knows."""
    return Stateless(
        {
            "random:index/randomPassword:RandomPassword": Kind(
                _password, _TEXT_DEFAULTS, rule=_check_text
            ),
            "random:index/randomString:RandomString": Kind(_text, _TEXT_DEFAULTS, rule=_check_text),
            "random:index/randomBytes:RandomBytes": Kind(_bytes, rule=_check_length),
            "random:index/randomId:RandomId": Kind(_id),
            "random:index/randomInteger:RandomInteger": Kind(_integer, rule=_check_range),
            "random:index/randomPet:RandomPet": Kind(_pet, {"length": 2, "separator": "-"}),
            "random:index/randomUuid:RandomUuid": Kind(_uuid),
            "random:index/randomUuid4:RandomUuid4": Kind(_uuid),
        }
    )


def _alphabets(inputs: Properties) -> dict[str, str]:
    """Class name → its characters, for the classes that are allowed."""
    numeric = inputs["numeric"] and inputs.get("number", True)
    special = inputs.get("overrideSpecial") or _SPECIAL
    every = {
        "lower": string.ascii_lowercase if inputs["lower"] else "",
        "upper": string.ascii_uppercase if inputs["upper"] else "",
        "numeric": string.digits if numeric else "",
        "special": special if inputs["special"] else "",
    }
    return {name: characters for name, characters in every.items() if characters}


def _check_text(inputs: Properties) -> list[Problem]:
    least = sum(inputs[f"min{name.capitalize()}"] for name in _CLASSES)
    if not _alphabets(inputs):
        return [Problem("special", "no character class is allowed")]
    if inputs["length"] < max(1, least):
        return [Problem("length", f"{inputs['length']} is below the minimum of {max(1, least)}")]
    return []


def _check_length(inputs: Properties) -> list[Problem]:
    return [] if inputs["length"] >= 1 else [Problem("length", "must be at least 1")]


def _check_range(inputs: Properties) -> list[Problem]:
    return [] if inputs["min"] <= inputs["max"] else [Problem("min", "is above max")]


def _draw(inputs: Properties) -> str:
    alphabets = _alphabets(inputs)
    drawn = [
        secrets.choice(characters)
        for name, characters in alphabets.items()
        for _ in range(inputs[f"min{name.capitalize()}"])
    ]
    every = "".join(alphabets.values())
    drawn += [secrets.choice(every) for _ in range(inputs["length"] - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)  # so that the minima are not at the front
    return "".join(drawn)


def _text(inputs: Properties) -> Properties:
    result = _draw(inputs)
    return {"id": result, "result": result, "number": inputs["numeric"]}


def _password(inputs: Properties) -> Properties:
    result = _draw(inputs)
    return {
        "id": "none",
        "result": result,
        "bcryptHash": _bcrypt(result),
        "number": inputs["numeric"],
    }


def _bcrypt(text: str) -> str:
    """The bcrypt hash of a text at the provider's cost of 10, from the system's libcrypt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # gone from Python 3.13
        import crypt
    return crypt.crypt(text, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=1 << 10))


def _bytes(inputs: Properties) -> Properties:
    drawn = secrets.token_bytes(inputs["length"])
    return {"id": "none", "base64": base64.b64encode(drawn).decode(), "hex": drawn.hex()}


def _id(inputs: Properties) -> Properties:
    drawn = secrets.token_bytes(inputs["byteLength"])
    prefix = inputs.get("prefix", "")
    url = base64.urlsafe_b64encode(drawn).decode().rstrip("=")
    return {
        "id": url,
        "b64Std": prefix + base64.b64encode(drawn).decode(),
        "b64Url": prefix + url,
        "dec": prefix + str(int.from_bytes(drawn)),
        "hex": prefix + drawn.hex(),
    }


def _integer(inputs: Properties) -> Properties:
    result = inputs["min"] + secrets.randbelow(inputs["max"] - inputs["min"] + 1)
    return {"id": str(result), "result": result}


def _pet(inputs: Properties) -> Properties:
    words = [secrets.choice(_ANIMALS)]
    if inputs["length"] > 1:
        words.insert(0, secrets.choice(_ADJECTIVES))
    words[:0] = [secrets.choice(_ADVERBS) for _ in range(math.floor(inputs["length"]) - 2)]
    if inputs.get("prefix"):
        words.insert(0, inputs["prefix"])
    return {"id": inputs["separator"].join(words)}


def _uuid(inputs: Properties) -> Properties:
    result = str(uuid.uuid4())
    return {"id": result, "result": result}
