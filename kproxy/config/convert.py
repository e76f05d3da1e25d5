"""A tree of the file in, the struct of `config/model.py` it is written as out.

msgspec's word on what is wrong becomes a place in the file and a reason in the file's words.
"""

import re
from typing import TypeVar

import msgspec

from kproxy.admission.keys import Secret
from kproxy.config.checks import check_api_key
from kproxy.config.document import PlacedError, Steps
from kproxy.schema.choices import choices

__all__ = ["convert"]

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")

T = TypeVar("T")


def convert(tree: object, kind: type[T], steps: Steps) -> T:
    """The tree as a value of that kind. Raises PlacedError, whose place begins with `steps`."""
    try:
        return msgspec.convert(tree, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        text = str(error)
        reason, found, place = text.rpartition(" - at `")
        if not found:
            reason, place = text, ""
        words = choices(kind, reason, place)
        place = place.removeprefix("key` in `").removeprefix("$")
        for key, position in _STEP.findall(place.removesuffix("`")):
            steps = (*steps, key or int(position))
        unknown = _UNKNOWN.fullmatch(reason)
        if unknown:
            raise PlacedError((*steps, unknown[1]), "unknown key") from error
        # The value is not repeated: what stands in the wrong place may be a secret.
        reason = f"must be {_listed(words)}" if words else _in_toml(reason)
        raise PlacedError(steps, reason) from error


def _listed(words: tuple[str, ...]) -> str:
    quoted = [f'"{word}"' for word in words]
    *most, last = quoted
    return f"{', '.join(most)} or {last}" if most else last


def _in_toml(reason: str) -> str:
    """msgspec's reason in the words of the file: TOML has tables and no null."""
    missing = _MISSING.fullmatch(reason)
    if missing:
        return f"{missing[1]} is missing"
    reason = reason.replace(" | null", "").replace("`object", "`table")
    return reason[:1].lower() + reason[1:]


def _decode(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(check_api_key(value))
    raise TypeError("Expected `str`")  # the value itself is not for a message
