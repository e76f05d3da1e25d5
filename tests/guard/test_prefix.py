"""How much of a growing text may leave: never more than is sure, and all of what is good."""

import json

import pytest

from kproxy.guard.prefix import Prefix
from tests.fakes.cuts import every_cut
from tests.guard.corpus.values import VALUES

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "kind": {"enum": ["cat", "dog"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "next": {"$ref": "#/$defs/place"},
        "any": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "additionalProperties": False, "properties": {"x": {}}}},
}


def fed(text: str, schema: object = None) -> tuple[str, Prefix]:
    prefix = Prefix(schema)
    return prefix.feed(text), prefix


@pytest.mark.parametrize("number", range(len(VALUES)))
@pytest.mark.parametrize("indent", [None, 1])
def test_what_is_good_leaves_at_once_and_whole(number: int, indent: int | None) -> None:
    text = json.dumps(VALUES[number], indent=indent, ensure_ascii=False) + "\n"
    prefix = Prefix()
    left = "".join(prefix.feed(character) for character in text)
    assert (left, prefix.whole, prefix.doubt, prefix.held) == (text, True, False, "")


def test_cuts_do_not_matter() -> None:
    text = ' {"a\\u00e4": [1.5e3, true, {"b": "x\\n\\"y"}, []], "c": {}, "d": null} '
    for pieces in every_cut(text.encode()):
        prefix = Prefix()
        assert "".join([prefix.feed(piece.decode()) for piece in pieces]) == text
        assert prefix.whole


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ('{"a": "hel', '{"a": "hel'),
        ('{"a": "hel\\', '{"a": "hel'),
        ('{"a": "hel\\u00', '{"a": "hel'),
        ('{"a": "hello"', '{"a": "hello'),
        ('{"a": "hello" ,', '{"a": "hello'),
        ('{"a": "hello" , "b', '{"a": "hello'),
        ('{"a": "hello" , "b": ', '{"a": "hello'),
        ('{"a": "hello" , "b": 1', '{"a": "hello" , "b": '),
        ('["hello", "', '["hello", '),
        ('{"a": 12', '{"a": '),
        ("[12, 1", "[12, "),
        ('{"a": tru', '{"a": '),
        ("{", "{"),
        ("  ", ""),
    ],
)
def test_what_is_not_sure_waits(text: str, leaves: str) -> None:
    left, prefix = fed(text)
    assert (left, left + prefix.held, prefix.doubt) == (leaves, text, False)


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("```json\n{}", ""),
        ("Sure", ""),
        ('"text"', ""),
        ("{a: 1}", "{"),
        ("{'a': 1}", "{"),
        ('{"a": True}', "{"),
        ('{"a": "x\ny"}', '{"a": "x'),
        ('{"a": "x\\d"}', '{"a": "x'),
        ('{"a": "x "y" z"}', '{"a": "x '),
        ('{"a": 1,}', '{"a": '),
        ("[1, 2,]", "[1, "),
        ('{"a": 1 "b": 2}', '{"a": '),
        ('{"a": 01}', '{"a": '),
        ('{"a" 1}', "{"),
        ('{"a": 1}} ', '{"a": 1}'),
        ('{"a": 1}\n```', '{"a": 1}'),
        ("[1}", "["),
        ("[" * 200, "[" * 128),
        ("[" + "1" * 500, "["),
    ],
)
def test_a_doubt_holds_everything_behind_it(text: str, leaves: str) -> None:
    left, prefix = fed(text)
    assert (left, prefix.doubt, left + prefix.held) == (leaves, True, text)


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("[", ""),
        ('{"nme": "x"', "{"),
        ('{"name": 1', "{"),
        ('{"age": "1', "{"),
        ('{"age": 1.5,', '{"age": '),
        ('{"kind": "cow"}', '{"kind": '),
        ('{"age": 1}', '{"age": '),
        ('{"tags": [1', '{"tags": ['),
        ('{"next": {"y": 1', '{"next": {'),
    ],
)
def test_what_the_schema_refuses_is_a_doubt(text: str, leaves: str) -> None:
    left, prefix = fed(text, PERSON)
    assert (left, prefix.doubt) == (leaves, True)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "x", "age": 3, "kind": "dog", "tags": ["a"], "next": {"x": [1]}, "any": null}',
        '{"any": 5, "name": "alternatives are judged later"}',
    ],
)
def test_what_the_schema_allows_leaves(text: str) -> None:
    left, prefix = fed(text, PERSON)
    assert (left, prefix.whole, prefix.doubt) == (text, True, False)


@pytest.mark.parametrize(
    "schema", [True, {"$ref": "#"}, {"$ref": "#/$defs/a"}, {"type": ["object", "null"]},
               {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, {"properties": 1}],
)  # fmt: skip
def test_odd_schemas_are_no_doubt(schema: object) -> None:
    assert fed('{"a": [1, {"b": 2}]}', schema)[1].whole


def test_an_enumeration_is_seen_as_a_whole() -> None:
    left, prefix = fed('{"kind": "do', PERSON)
    assert (left, prefix.held) == ('{"kind": ', '"do')
    assert prefix.feed('g", "name": "') == '"dog", "name": '
