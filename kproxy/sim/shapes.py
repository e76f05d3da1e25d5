"""A JSON schema in, a value that satisfies it out: tool arguments and structured answers.

Knows the part of JSON Schema that people put into tools and `response_format`: const, enum, type
(also as a list), properties and required, items, prefixItems, local $ref, anyOf, oneOf, allOf,
bounds of numbers, lengths of strings and arrays, and the usual formats. What it does not know
(pattern, not, if) it ignores. Every schema gives a value in bounded time: depth and the number of
values are limited, so that a schema that refers to itself ends.
"""

from collections.abc import Mapping
from typing import Any

from kproxy.sim.chance import Chance

__all__ = ["instance"]

_DEPTH = 24  # nesting of the value; deeper schemas end in null
_VALUES = 2_000  # values in one instance
_FARTHEST = 1 << 63  # bounds beyond it are not kept: arithmetic on them overflows
_FINEST = 1e-9  # the same for multipleOf
_LONGEST = 4_096  # characters in one string, items in one array

_FORMATS = {
    "date": "2026-05-17",
    "date-time": "2026-05-17T09:30:00Z",
    "time": "09:30:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/page",
    "uuid": "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d",
    "ipv4": "192.0.2.7",
    "hostname": "example.com",
}
_TEXTS = ("quiet harbour", "Straße 7", "first answer", "東京", "measured", "plain word", "café")


def instance(schema: object, chance: Chance) -> Any:
    """A value for the schema. `true`, `{}` and whatever is no schema give a short text."""
    return _Maker(schema, chance).make(schema, 0)


class _Maker:
    """One walk over one schema."""

    def __init__(self, root: object, chance: Chance) -> None:
        self._root = root
        self._chance = chance
        self._left = _VALUES

    def make(self, schema: object, depth: int) -> Any:
        self._left -= 1
        if depth > _DEPTH or self._left < 0:
            return None
        if not isinstance(schema, Mapping):
            return self._text({})
        schema = self._whole(schema, depth)
        if "const" in schema:
            return schema["const"]
        choices = schema.get("enum")
        if isinstance(choices, list) and choices:
            return choices[self._chance.below(len(choices))]
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._integer(schema)
            case "number":
                return self._number(schema)
            case "boolean":
                return self._chance.below(2) == 1
            case "null":
                return None
            case _:
                return self._text(schema)

    def _whole(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """The schema with its reference, its alternatives and its parts put in."""
        for _ in range(_DEPTH - min(depth, _DEPTH) + 1):  # a reference to itself ends
            for word in ("$ref", "anyOf", "oneOf", "allOf"):
                if word in schema:
                    break
            else:
                return schema
            value = schema[word]
            rest = {key: item for key, item in schema.items() if key != word}
            parts: list[object] = []
            if word == "$ref":
                parts = [self._look_up(value)]
            elif isinstance(value, list):
                parts = value if word == "allOf" else value[:1]
            for part in parts:
                if isinstance(part, Mapping):
                    rest = _merged(rest, part)
            schema = rest
        return {"type": "null"}

    def _look_up(self, reference: object) -> object:
        """What a local reference (`#/$defs/name`) points at; {} when there is no such place."""
        found = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            return {}
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or step not in found:
                return {}
            found = found[step]
        return found

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        names = (
            [name for name in required if isinstance(name, str)]
            if isinstance(required, list)
            else []
        )
        # Nothing required: a caller still wants to see something, but recursion must thin out.
        if not names and depth < 3:
            names = [name for name in properties if isinstance(name, str)]
        value = {name: self.make(properties.get(name, {}), depth + 1) for name in names}
        for number in range(_bound(schema, "minProperties", 0) - len(value)):
            value[f"extra_{number}"] = self._text({})
        return value

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems")
        first = first if isinstance(first, list) else []
        value = [self.make(item, depth + 1) for item in first]
        least = _bound(schema, "minItems", 0)
        most = _bound(schema, "maxItems", _LONGEST)
        wanted = max(least, min(most, len(value) + 1 + self._chance.below(2)))
        items = schema.get("items", {})
        if items is False:
            return value
        while len(value) < wanted and (self._left > 0 or len(value) < least):
            value.append(self.make(items, depth + 1))
        return value

    def _integer(self, schema: Mapping[str, Any]) -> int:
        low, high = _limits(schema, 1)
        step = schema.get("multipleOf")
        if isinstance(step, int) and 0 < step <= _FARTHEST:
            first = -(-int(low) // step)
            return step * (first + self._chance.below(max(1, int(high) // step - first + 1)))
        # The low end is rounded up and the high end down: bounds need not be whole numbers.
        lowest = -int(-low // 1)
        return lowest + self._chance.below(max(1, int(high // 1) - lowest + 1))

    def _number(self, schema: Mapping[str, Any]) -> float | int:
        step = schema.get("multipleOf")
        if isinstance(step, int | float) and _FINEST <= step <= _FARTHEST:
            low, high = _limits(schema, step)
            first = -int(-low // step)
            return step * (first + self._chance.below(max(1, int(high // step) - first + 1)))
        low, high = _limits(schema, 0)
        return low + (high - low) * (1 + self._chance.below(3)) / 4  # never on an open bound

    def _text(self, schema: Mapping[str, Any]) -> str:
        known = _FORMATS.get(str(schema.get("format", "")))
        if known is not None:
            return known
        text = _TEXTS[self._chance.below(len(_TEXTS))]
        least = _bound(schema, "minLength", 0)
        while len(text) < least:
            text += " and so on"
        return text[: max(least, min(len(text), _bound(schema, "maxLength", _LONGEST)))]


def _kind(schema: Mapping[str, Any]) -> str:
    """The type to make: the first that is not null, else guessed from the other words."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
        return "number"
    return "string"


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas in one: properties and required add up, anything else the second wins."""
    whole = {**first, **second}
    for word in ("properties", "$defs"):
        if isinstance(first.get(word), Mapping) and isinstance(second.get(word), Mapping):
            whole[word] = {**first[word], **second[word]}
    ours, theirs = first.get("required"), second.get("required")
    if isinstance(ours, list) and isinstance(theirs, list):
        names = (name for name in (*ours, *theirs) if isinstance(name, str))
        whole["required"] = list(dict.fromkeys(names))
    return whole


def _bound(schema: Mapping[str, Any], word: str, default: int) -> int:
    value = schema.get(word)
    return min(value, _LONGEST) if isinstance(value, int) and value >= 0 else default


def _limits(schema: Mapping[str, Any], step: float) -> tuple[float, float]:
    """Lowest and highest number allowed; an exclusive bound is moved inwards by `step`.

    With step 0 (real numbers) an exclusive bound stays: the caller picks a point between.
    """

    def named(word: str) -> float | None:
        value = schema.get(word)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return value if abs(value) <= _FARTHEST else None

    lows = [named("minimum")]
    highs = [named("maximum")]
    if (bound := named("exclusiveMinimum")) is not None:
        lows.append(bound + step)
    if (bound := named("exclusiveMaximum")) is not None:
        highs.append(bound - step)
    low = max((one for one in lows if one is not None), default=None)
    high = min((one for one in highs if one is not None), default=None)
    if low is None:
        low = min(1, high - 10) if high is not None else 1
    if high is None:
        high = max(100, low + 10)
    return low, high
