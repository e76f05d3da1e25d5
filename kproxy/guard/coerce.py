"""A value and where its types are wrong go in; the value with those types corrected comes out.

Only what says the same in another type: `"12"` for 12 where a number is due, 12 for `"12"` where a
string is, `"true"` and `"null"` for what they name. A fraction is no integer, and no word becomes a
number.
"""

import json
import re
from collections.abc import Iterable

from kproxy.guard.schemas import Wrong

__all__ = ["coerced"]

MOST = 1_000
"""Values that are corrected in one document."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})").fullmatch
_NUMBER = re.compile(
    r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,2})?"
).fullmatch
_WORDS = {"true": True, "false": False}
_NOTHING = object()


def coerced(value: object, wrong: Iterable[Wrong]) -> object | None:
    """`value`, changed in place; None where something cannot be corrected, or nothing was wrong."""
    changed = 0
    for place in list(wrong):
        changed += 1
        if not place.path or changed > MOST:
            return None
        parent = value
        for step in place.path[:-1]:
            parent = parent[step]  # type: ignore[index]
        key = place.path[-1]
        said = _as_type(parent[key], place.types)  # type: ignore[index]
        if said is not _NOTHING:
            parent[key] = said  # type: ignore[index]
    return value if changed else None


def _as_type(value: object, types: tuple[str, ...]) -> object:
    if isinstance(value, str):
        return _from_text(value.strip(), types)
    if "string" in types and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    if "integer" in types and isinstance(value, float) and value.is_integer():
        return int(value)
    return _NOTHING


def _from_text(text: str, types: tuple[str, ...]) -> object:
    if "integer" in types and _INTEGER(text):
        return int(text)
    if "number" in types and _NUMBER(text):
        return json.loads(text)
    if "boolean" in types and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if "null" in types and text.lower() in ("null", "none"):
        return None
    return _NOTHING
