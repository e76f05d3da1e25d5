"""A text goes in; whether it is JSON by the letter (RFC 8259) comes out, or its value.

To know whether a text is JSON nothing need be built of it: that takes a fiftieth of the time, and a
value of a megabyte may be a hundred thousand objects. A lone surrogate and a number beyond every
double are JSON, too, though most parsers refuse them.
"""

import json

import msgspec
import orjson

__all__ = ["is_json", "value_of"]


def is_json(text: str) -> bool:
    """Whether it is JSON. Ends at the first mistake."""
    try:
        msgspec.json.decode(text.encode("utf-8", "replace"), type=msgspec.Raw)
    except RecursionError:
        return False
    except msgspec.MsgspecError:
        return "\\ud" in text.lower() and _is_json_to_python(text)
    return True


def value_of(text: str) -> object:
    """The value of what is JSON. Raises ValueError and RecursionError where it cannot be built."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text, parse_constant=_no_constant, parse_int=float)


def _is_json_to_python(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_constant, parse_int=float)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> object:
    raise ValueError(name)
