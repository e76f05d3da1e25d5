"""The common mends at once, and that they do nothing where they are not enough."""

import json

import pytest

from kproxy.guard.skeleton import quickly


@pytest.mark.parametrize(
    ("text", "value", "done"),
    [
        ('{"a": 1}', {"a": 1}, ()),
        ('{"a": [1, ], }', {"a": [1]}, ("commas",)),
        ('{"a": True, "b": None}', {"a": True, "b": None}, ("literals",)),
        ('{a: 1, "b": {c: 2}}', {"a": 1, "b": {"c": 2}}, ("quotes",)),
        ("{None: NaN}", {"None": None}, ("quotes", "literals")),
        ('{"a": 1, // "b"\n "c": 2}', {"a": 1, "c": 2}, ("comments",)),
        ("{'a': 'say \"x\"', 'b': \"it's\"}", {"a": 'say "x"', "b": "it's"}, ("quotes",)),
        ("{'a': 'it\\'s \\n \\d'}", {"a": "it's \n \\d"}, ("quotes",)),
        ('{"a": "x\ny"}', {"a": "x\ny"}, ("escapes",)),
        ('{"True,}": "// no, None"}', {"True,}": "// no, None"}, ()),
    ],
)
def test_mended(text: str, value: object, done: tuple[str, ...]) -> None:
    found = quickly(text)
    if text.startswith('{"a": 1, //'):
        assert found is None  # a comment with quotes is for the careful way
        return
    assert found is not None
    assert (json.loads(found.text), found.done) == (value, done)


@pytest.mark.parametrize(
    "text",
    ['{"a": "x "y" z"}', "[1,,2]", "{a}", '{"a": Truest}', "[1 2]", '{"a": \x00}', "[nulla]"],
)
def test_not_enough(text: str) -> None:
    assert quickly(text) is None


def test_a_name_is_not_changed_into_another() -> None:
    found = quickly("{NaNa: 1, xNone: 2}")
    assert found is not None
    assert json.loads(found.text) == {"NaNa": 1, "xNone": 2}
