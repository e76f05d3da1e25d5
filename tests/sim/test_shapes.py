"""Instances satisfy their schemas, as a small checker written from the specification sees it."""

import math
import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kproxy.sim.chance import Chance
from kproxy.sim.shapes import instance

KINDS = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip


def satisfies(schema, value):
    """Whether the value is valid, for the words that the strategy below uses."""
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return value == schema["const"]
    if "anyOf" in schema:
        return any(satisfies(one, value) for one in schema["anyOf"])
    kind = schema["type"]
    if kind == "number":
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        right = isinstance(value, KINDS[kind]) and (kind != "integer" or value is not True)
    if not right:
        return False
    if kind in ("integer", "number"):
        return schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
    if kind == "string":
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
    if kind == "array":
        size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
        return size and all(satisfies(schema["items"], one) for one in value)
    if kind == "object":
        return set(schema["required"]) <= set(value) and all(
            satisfies(schema["properties"][name], one) for name, one in value.items()
        )
    return True


def bounded(kind, low, high):
    def build(pair):
        least, most = sorted(pair)
        return {"type": kind, low: least, high: most}

    return st.tuples(st.integers(0, 60), st.integers(0, 60)).map(build)


LEAVES = st.one_of(
    st.sampled_from(
        [{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")]
    ),
    bounded("string", "minLength", "maxLength"),
    bounded("integer", "minimum", "maximum"),
    bounded("number", "minimum", "maximum"),
    st.lists(st.integers() | st.text(), min_size=1, max_size=4).map(lambda some: {"enum": some}),
    st.integers().map(lambda one: {"const": one}),
)


def objects(inner):
    def build(properties):
        names = list(properties)
        return st.sets(st.sampled_from(names)).map(
            lambda chosen: {
                "type": "object", "properties": properties, "required": sorted(chosen)
            }
        )  # fmt: skip

    return st.dictionaries(st.text(max_size=5), inner, min_size=1, max_size=4).flatmap(build)


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        inner.map(lambda one: {"type": "array", "items": one, "minItems": 1, "maxItems": 3}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
    ),
    max_leaves=12,
)


@given(SCHEMAS, st.integers())
def test_every_instance_satisfies_its_schema(schema, seed):
    value = instance(schema, Chance(seed))
    assert satisfies(schema, value)
    assert instance(schema, Chance(seed)) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
WORDS = (
    "$ref", "additionalProperties", "allOf", "anyOf", "const", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maximum", "minItems",
    "minLength", "minProperties", "minimum", "multipleOf", "prefixItems", "properties", "required",
    "type",
)  # fmt: skip
ANYTHING = st.recursive(
    JSON | st.sampled_from(["string", "integer", "number", "array", "object", "#", "date"]),
    lambda inner: st.dictionaries(st.sampled_from(WORDS), inner) | st.lists(inner, max_size=3),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(WORDS), ANYTHING), st.integers())
@example({"$ref": "#", "required": [[]]}, 0)
def test_any_schema_at_all_gives_some_json(schema, seed):
    msgspec.json.encode(instance(schema, Chance(seed)))


def make(schema):
    return instance(schema, Chance(3))


def test_required_alone_where_something_is_required():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "required": ["a"],
    }
    assert list(make(schema)) == ["a"]
    assert list(make({**schema, "required": []})) == ["a", "b"]


def test_a_required_name_without_a_property():
    assert isinstance(make({"type": "object", "required": ["x"]})["x"], str)


def test_local_references_and_nested_definitions():
    schema = {
        "$defs": {"city/name": {"type": "string", "enum": ["Oslo"]}},
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/city~1name"}},
        "required": ["city"],
    }
    assert make(schema) == {"city": "Oslo"}


def test_unknown_references_give_some_text():
    assert isinstance(make({"$ref": "#/$defs/none"}), str)
    assert isinstance(make({"$ref": "https://example.com/schema"}), str)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "array", "minItems": 4000, "items": {"$ref": "#"}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    ],
)
def test_schemas_that_never_end_do(schema):
    make(schema)


def test_all_of_adds_up():
    schema = {
        "allOf": [
            {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"b": {"const": 2}}, "required": ["b"]},
        ]
    }
    assert make(schema) == {"a": 1, "b": 2}


def test_nullable_types_get_a_value():
    assert isinstance(make({"type": ["null", "integer"]}), int)
    assert make({"type": ["null"]}) is None


def test_tuples_and_closed_tuples():
    first = [{"const": 1}, {"const": "b"}]
    assert make({"type": "array", "prefixItems": first, "items": False}) == [1, "b"]


def test_bounds_that_exclude():
    assert make({"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6}) == 5
    assert 0 < make({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}) < 1
    assert make({"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 20}) == 14
    assert make({"type": "number", "multipleOf": 0.5, "minimum": 1, "maximum": 1.2}) == 1.0


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("date", r"\d{4}-\d\d-\d\d"),
        ("date-time", r"\d{4}-\d\d-\d\dT[\d:]+Z"),
        ("email", r"\w+@[\w.]+"),
        ("uuid", r"[0-9a-f-]{36}"),
    ],
)
def test_formats(name, pattern):
    assert re.fullmatch(pattern, make({"type": "string", "format": name}))


@pytest.mark.parametrize("schema", [True, None, [], "x", {}, {"type": 5}, {"enum": []}])
def test_what_is_no_schema_gives_text(schema):
    assert isinstance(make(schema), str)


def test_kinds_without_a_type_are_guessed():
    assert make({"properties": {"a": {"const": 1}}}) == {"a": 1}
    assert isinstance(make({"items": {"type": "integer"}})[0], int)
    assert make({"minimum": 5, "maximum": 5}) == 5


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize(
    "bounds",
    [
        {"multipleOf": 5e-324},
        {"multipleOf": 1e308, "minimum": 1},
        {"multipleOf": True},
        {"minimum": 1e308},
        {"minimum": -1e308, "maximum": 1e308},
        {"minimum": 5, "maximum": 4},
        {"exclusiveMinimum": 1e308, "exclusiveMaximum": -1e308},
        {"minimum": math.inf},
        {"maximum": -math.inf},
        {"minimum": 10**400},
    ],
)
def test_bounds_at_the_edge_of_numbers_do_no_harm(kind, bounds):
    msgspec.json.encode(make({"type": kind, **bounds}))
