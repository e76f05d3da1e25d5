"""A type and msgspec's place of a value in it in, the words that may stand there out.

msgspec says that `'fast'` is none of a set's, and not which set: a caller would have to look it up.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from msgspec import inspect

__all__ = ["ENUM", "choices"]

ENUM = "Invalid enum value"
"""How msgspec's word on such a value begins."""

_KEY = "key` in `"  # the place is that of a map's key
_STEP = re.compile(r"\.([^.\[\]`]+)|\[(?:\d+|\.\.\.)\]")


def choices(kind: type, reason: str, place: str) -> tuple[str, ...]:
    """The strings that the place takes; empty where `reason` is about something else.

    Both are msgspec's on a value of that kind: `Invalid enum value 'x'`, and `$.routes[0].mode`.
    """
    if not reason.startswith(ENUM):
        return ()
    found: Iterable[inspect.Type] = (_described(kind),)
    of_a_key = place.startswith(_KEY)
    for step in _STEP.finditer(place):
        found = [below for one in _each(found) for below in _below(one, step[1])]
    if of_a_key:
        found = [one.key_type for one in _each(found) if isinstance(one, inspect.DictType)]
    return tuple(word for one in _each(found) for word in _words(one))


@cache  # a few kinds, at most a millisecond each
def _described(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _each(types: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    """The types without their frames: what a union is of, and what only has more told of it."""
    for one in types:
        if isinstance(one, inspect.UnionType):
            yield from _each(one.types)
        elif isinstance(one, inspect.Metadata):
            yield from _each((one.type,))
        else:
            yield one


def _below(one: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    """What may stand at the next step: a field of that name, or an item or value."""
    if isinstance(one, inspect.StructType):
        yield from (field.type for field in one.fields if field.encode_name == name)
    elif isinstance(one, inspect.DictType):
        yield one.value_type
    elif isinstance(one, inspect.ListType | inspect.VarTupleType):
        yield one.item_type


def _words(one: inspect.Type) -> Iterator[str]:
    if isinstance(one, inspect.LiteralType):
        yield from (value for value in one.values if isinstance(value, str))
    elif isinstance(one, inspect.EnumType):
        yield from (member.value for member in one.cls if isinstance(member.value, str))
